import * as up from '../../test/support/answers.js';
import { command } from '../../test/support/redis.js';
import { call } from '../../test/support/sse.js';
import { startUpstreamProcess } from '../../test/support/upstream-process.js';
import { type Customer, OPERATOR_KEY, type Product } from '../product.js';
import { type Random, randomFrom } from '../random.js';
import { quiet } from '../torture/books.js';
import { sleep } from '../torture/fault.js';
import { CREDITS } from '../torture/world.js';
import type { Claim, ClaimOptions, Outcome } from './claim.js';
import { createInstallation, type Installation } from './installation.js';
import { everythingWritten, journalOf, openToOthers, type Written } from './written.js';

/** Texts that must never be written anywhere, by what they are. */
type Canaries = Map<string, string>;

/** A whole run at the finest log level, faults included; then everything that was written is searched for every secret. */
export const secretsClaim: Claim = {
  id: 'R15',
  name: 'keys, tokens, passwords, prompts and answers are written nowhere: logs, errors, metrics, rows, Redis, journal',
  run: async (options) => {
    const random = randomFrom(options.seed);
    const canaries: Canaries = new Map(NAMES.map((name) => [name, `canary${wordOf(random, 34)}`]));
    const upstream = await startUpstreamProcess();
    const of = (name: (typeof NAMES)[number]): string => canaries.get(name) ?? '';
    const env = { R15_KEY: of('key of an upstream'), R15_OTHER: of('key of an upstream that is away'), R15_OAUTH: of('secret of a house') };
    const site = await createInstallation({
      config: configFor(upstream.url),
      env: { ...env, FAREBOX_SECRET: of('secret of the server') },
      built: options.built ?? false,
    });
    try {
      return await search(site, { canaries, random, options });
    } finally {
      await site.remove();
      await upstream.kill();
    }
  },
};

const NAMES = [
  'key of an upstream',
  'key of an upstream that is away',
  'secret of a house',
  'secret of the server',
  'prompt',
  'answer',
  'password',
  'wrong password',
  'token of nobody',
  'idempotency key',
] as const;

const configFor = (upstream: string) => ({
  server: { gateway_processes: 2, log_level: 'trace' },
  upstreams: {
    fake: { base_url: upstream, api_key: '${R15_KEY}', models: ['fake-*'] },
    away: { base_url: 'http://127.0.0.1:9/v1', api_key: '${R15_OTHER}', models: ['away-*'] },
  },
  models: { 'fake-model': { ratio: 1, output: '4x' }, 'away-model': { ratio: 1, output: '4x' } },
  oauth: {
    house: {
      label: 'House',
      authorize_url: 'http://127.0.0.1:9/a',
      token_url: 'http://127.0.0.1:9/t',
      userinfo_url: 'http://127.0.0.1:9/u',
      client_id: 'farebox',
      client_secret: '${R15_OAUTH}',
    },
  },
});

const LETTERS = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';
const wordOf = (random: Random, length: number): string => Array.from({ length }, () => random.pick([...LETTERS])).join('');

interface Search {
  readonly canaries: Canaries;
  readonly random: Random;
  readonly options: ClaimOptions;
}

async function search(site: Installation, { canaries, options }: Search): Promise<Outcome> {
  const [product] = site.products;
  if (!product) throw new Error('no server');
  const customer = await product.customer(CREDITS);
  canaries.set('token', secretPart(customer.token));
  canaries.set('operator key', secretPart(OPERATOR_KEY));
  const errors: string[] = [];
  await people(product, canaries, errors);
  await requests(product, customer, canaries, errors);
  options.say('Postgres away, Redis wiped and frozen, a gateway killed');
  await site.postgres.stop();
  await requests(product, customer, canaries, errors);
  const journal = journalOf(product);
  const open = openToOthers(product);
  await site.postgres.start();
  await command(site.redis.port, 'FLUSHALL');
  await requests(product, customer, canaries, errors);
  site.redis.pause();
  const frozen = requests(product, customer, canaries, errors);
  await sleep(1_500);
  site.redis.resume();
  await frozen;
  process.kill(product.parts().gateways[0] ?? 0, 'SIGKILL');
  await requests(product, customer, canaries, errors);
  const wrong = await quiet({ product, customer, postgres: site.postgres, command: (...words) => command(site.redis.port, ...words) });
  const written = await everythingWritten(site, product);
  written
    .set('the journal', journal)
    .set('the answers that say no', errors.join('\n'))
    .set('the management answers', await readings(product, customer));
  return outcome(canaries, written, [...wrong, ...blind(written, customer), ...open.map((path) => `others may read ${path}`)]);
}

const secretPart = (credential: string): string => credential.slice(credential.lastIndexOf('-') + 1);

/** Accounts, sessions, keys and codes: what is shown once must not be there afterwards. */
async function people(product: Product, canaries: Canaries, errors: string[]): Promise<void> {
  const post = async (path: string, body: unknown): Promise<Response> => {
    const headers = { 'content-type': 'application/json', origin: product.url };
    return fetch(`${product.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  };
  const account = { email: 'ada@example.com', password: canaries.get('password') };
  await post('/api/v1/auth/sign-up', { ...account, organization_name: 'Engines' });
  const signedIn = await post('/api/v1/auth/sign-in', account);
  const session = /session=([^;]+)/.exec(signedIn.headers.getSetCookie().join())?.[1];
  if (!session) throw new Error(`nobody could sign in: ${signedIn.status} ${await signedIn.text()}`);
  canaries.set('session', decodeURIComponent(session));
  for (const body of [
    { ...account, password: canaries.get('wrong password') },
    { ...account, token: canaries.get('wrong password') },
    canaries.get('prompt'),
  ])
    errors.push(await (await post('/api/v1/auth/sign-in', body)).text());
  const { body: orgs } = await product.api('GET', '/api/v1/admin/orgs');
  const org = String((orgs['data'] as { id: string }[])[0]?.id);
  const key = await product.api('POST', `/api/v1/orgs/${org}/management-keys`, { name: 'canary', scopes: ['usage:read'] });
  canaries.set('management key', secretPart(String(key.body['secret'])));
  errors.push(JSON.stringify(await product.api('POST', `/api/v1/orgs/${org}/tokens`, { name: 7, secret: canaries.get('wrong password') })));
}

/** Every ending there is, with a prompt, an answer and keys in all of the places where such things are put. */
async function requests(product: Product, { token }: Customer, canaries: Canaries, errors: string[]): Promise<void> {
  const said = canaries.get('answer') ?? '';
  const key = canaries.get('key of an upstream') ?? '';
  const leaks = JSON.stringify({
    error: { message: `Incorrect API key provided: ${key}`, type: 'invalid_request_error', code: 'invalid_api_key' },
  });
  const answers = [
    up.says(said, up.usage(9, 4)),
    up.says(said, said, up.noUsage()),
    up.says(said, up.reset()),
    up.fails(401, { body: leaks }),
    up.fails(500, { body: leaks }),
    up.fails(400, { body: leaks }),
    up.says(said, up.errorEvent(`no more for ${key}`)),
    up.returns(`<html>${said} ${key}</html>`),
  ];
  const bodies = answers.flatMap((answer) => [true, false].map((stream) => chat(answer, canaries, { stream })));
  bodies.push(
    chat(answers[0] as up.Answer, canaries, { model: 'away-model' }),
    chat(answers[0] as up.Answer, canaries, { model: 'no-such-model' }),
  );
  bodies.push(
    `{"model":"fake-model","messages":[{"role":"user","content":"${canaries.get('prompt')}"`,
    JSON.stringify([canaries.get('prompt')]),
  );
  /** Whoever asks for a path that is not there is told which: this is no leak, so these answers are not searched. */
  const isEcho = (path: string): boolean => !path.startsWith('/v1/chat');
  const send = async (body: string, path = '/v1/chat/completions', credential = token): Promise<void> => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': `${canaries.get('idempotency key')}-${errors.length}` };
    const asked = call(`${product.url}${path}`, { method: 'POST', token: credential, headers, body });
    const late = setTimeout(() => asked.hangUp(), 15_000);
    const { status, body: bytes } = await asked.end();
    clearTimeout(late);
    if (status !== 200 && !isEcho(path)) errors.push(`${status} ${bytes.toString('latin1')}`);
  };
  await Promise.all(bodies.map((body) => send(body)));
  const whole = bodies[0] ?? '';
  await send(whole, `/v1/chat/completions?api_key=${canaries.get('token of nobody')}`);
  await send(whole, `/v1/${canaries.get('token of nobody')}`);
  await send(whole, undefined, canaries.get('token of nobody'));
  await send(whole, undefined, `${token.slice(0, token.lastIndexOf('-') + 1)}${canaries.get('token of nobody')}`);
}

function chat(answer: up.Answer, canaries: Canaries, more: Readonly<Record<string, unknown>>): string {
  const prompt = canaries.get('prompt');
  const messages = [
    { role: 'system', content: prompt },
    { role: 'user', content: [{ type: 'text', text: up.asking(answer) }] },
    { role: 'user', content: prompt },
  ];
  return JSON.stringify({
    model: 'fake-model',
    messages,
    max_tokens: 50,
    stop: [prompt],
    tools: [{ type: 'function', function: { name: prompt } }],
    ...more,
  });
}

/** What people of the organization and the operator read afterwards. */
async function readings(product: Product, { orgId, tokenId }: Customer): Promise<string> {
  const own = ['logs?limit=200', 'tokens', `tokens/${tokenId}`, 'management-keys', 'balance'].map(
    (path) => `/api/v1/orgs/${orgId}/${path}`,
  );
  const admin = ['orgs', 'health', 'audit-log', 'reconciliation'].map((path) => `/api/v1/admin/${path}`);
  const texts = await Promise.all([...own, ...admin].map((path) => product.api('GET', path)));
  return texts.map(({ body }) => JSON.stringify(body)).join('\n');
}

/** A search that cannot find anything proves nothing: what may be there has to be found. */
function blind(written: Written, { orgId, tokenId }: Customer): string[] {
  const known: readonly (readonly [string, string])[] = [
    ['the log', '"level":'],
    ['the log', 'the hot store lost what it had'],
    ['the metrics', 'farebox_'],
    ['the health page', 'credits'],
    ['the append-only file of Redis', tokenId],
    ['the database', orgId],
    ['the journal', tokenId],
    ['the answers that say no', '"code":'],
    ['the management answers', orgId],
  ];
  return known.flatMap(([place, words]) =>
    written.get(place)?.includes(words) ? [] : [`${place} was searched, but not even '${words}' is there`],
  );
}

/** Whole, its halves, and in the spellings that programs give to texts. */
function spellings(secret: string): string[] {
  const half = Math.floor(secret.length / 2);
  const bytes = Buffer.from(secret);
  return [secret, secret.slice(0, half), secret.slice(-half), bytes.toString('base64').slice(0, -4), bytes.toString('hex')];
}

function outcome(canaries: Canaries, written: Written, wrong: readonly string[]): Outcome {
  const violations = [...wrong];
  for (const [name, secret] of canaries) {
    if (secret.length < 20) throw new Error(`the ${name} is too short to be searched for`);
    for (const [place, text] of written) {
      const at = spellings(secret)
        .map((one) => text.indexOf(one))
        .find((one) => one >= 0);
      if (at === undefined) continue;
      violations.push(`the ${name} is in ${place}: ${JSON.stringify(text.slice(Math.max(0, at - 120), at)).slice(0, 300)}`);
    }
  }
  return {
    facts: [
      ['secrets and texts looked for', canaries.size],
      ...[...written].map(([place, text]) => [`characters of ${place}`, text.length] as const),
      ['found', violations.length - wrong.length],
    ],
    violations,
  };
}
