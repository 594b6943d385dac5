import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { command, type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import {
  type Client,
  errorOf,
  eventually,
  exchange,
  expectCleanBooks,
  fakeCost,
  post,
  quiet,
  requestIdOf,
  rowOf,
  scriptOf,
  walletOf,
} from './books.js';

const CHAT = '/v1/chat/completions';
let upstream: up.Upstream;
let redis: RedisServer;
let farebox: Farebox;
let will: (...answers: up.Answer[]) => void;

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis({ appendonly: true })]);
  const database = await freshDatabase(inject('databaseUrl'));
  farebox = await startFarebox({
    upstream: upstream.url,
    databaseUrl: database.url,
    redisUrl: redis.url,
    processes: 2,
    config: {
      upstreams: {
        fake: { models: ['fake-*', '__proto__', 'constructor', 'toString'] },
        cheap: { base_url: upstream.url, api_key: 'upstream-secret', models: [{ name: 'eitherone', as: 'fake-model' }], retries: 0 },
        dear: { base_url: upstream.url, api_key: 'upstream-secret', models: [{ name: 'eitherone', as: 'fake-dear' }], priority: 2 },
        dearer: { base_url: upstream.url, api_key: 'upstream-secret', models: [{ name: 'fake-two', as: 'served-dear' }], priority: 2 },
      },
      models: {
        'fake-dear': { ratio: 10, output: '4x' },
        'fake-main': { ratio: 1, output: '4x' },
        'fake-flat': { per: 'request', price: 10 },
        'fake-two': { ratio: 1, output: '4x' },
        'fake-gone': 'reject',
      },
    },
  });
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

const chat = (more: Record<string, unknown> = {}) => ({ model: 'fake-model', messages: [{ role: 'user', content: 'hi' }], ...more });
const flat = { model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }] };
const ask = (client: Client, body: unknown) => post(client, CHAT, typeof body === 'string' ? body : JSON.stringify(body)).end();

async function clientOf(credits: string | number, token: Record<string, unknown> = {}): Promise<Client & { tokenId: string }> {
  const orgId = await farebox.createOrg();
  if (Number(credits) > 0) await farebox.grant(orgId, credits);
  const made = await farebox.createToken(orgId, token);
  return { farebox, orgId, token: made.secret, tokenId: made.id };
}

const patchToken = (client: Client & { tokenId: string }, change: unknown) =>
  farebox.api('PATCH', `/api/v1/orgs/${client.orgId}/tokens/${client.tokenId}`, change);
const patchOrg = (client: Client, change: unknown) => farebox.api('PATCH', `/api/v1/admin/orgs/${client.orgId}`, change);

/** Nothing was set aside, charged or sent on. */
async function expectUntouched(client: Client, before: number, credits: number): Promise<void> {
  expect(upstream.requests.length).toBe(before);
  expect(await walletOf(farebox, client.orgId)).toMatchObject({ available: credits * 1_000_000, inFlight: 0, pending: 0 });
  expect((await farebox.logs(client.orgId)).filter(({ status }) => status !== 'rejected')).toEqual([]);
}

test.each([
  ['the quota of the token', { quota: 5 }, 100, null, 'token_quota_exceeded'],
  ['the monthly limit', {}, 100, 5, 'monthly_limit_reached'],
  ['the balance', { quota: 50 }, 5, 50, 'request_exceeds_balance'],
  ['an empty balance', {}, 0, null, 'insufficient_quota'],
] as const)(
  'G3: when %s is too small the answer is 402, and nothing stays set aside anywhere',
  async (_what, token, credits, limit, code) => {
    const client = await clientOf(credits, token);
    if (limit !== null) expect((await patchOrg(client, { limit })).status).toBe(200);
    const before = upstream.requests.length;
    for (let i = 0; i < 5; i++) {
      const result = await ask(client, flat);
      expect([result.status, errorOf(result).code, errorOf(result).type]).toEqual([402, code, 'insufficient_quota']);
      expect(result.headers.get('x-should-retry')).toBe('false');
      expect(result.headers.get('retry-after')).toBeUndefined();
      expect([result.headers.get('x-credits-charged'), result.headers.get('x-credits-remaining')]).toEqual([
        '0',
        credits === 0 ? '0' : '5',
      ]);
    }
    await expectUntouched(client, before, credits);
    // With the small one enlarged, the whole of the others is there.
    if ('quota' in token) await patchToken(client, { quota: null });
    await patchOrg(client, { limit: null });
    await farebox.grant(client.orgId, 10);
    expect((await ask(client, flat)).status).toBe(200);
  },
);

test('G4: a request beyond the balance is refused with what it needs and what there is, and a smaller one is served', async () => {
  const client = await clientOf(1);
  const result = await ask(client, chat({ max_tokens: 100_000 }));
  const error = errorOf(result);
  expect([result.status, error.code]).toEqual([402, 'request_exceeds_balance']);
  expect(error.metadata).toMatchObject({
    limit_source: 'balance',
    available: { credits: '1', micro: 1_000_000 },
    in_flight: { micro: 0 },
    request_id: requestIdOf(result),
    resolve_url: expect.stringContaining(client.orgId),
  });
  expect((error.metadata['required'] as { micro: number }).micro).toBeGreaterThan(100_000 * 800);
  expect((await ask(client, chat({ max_tokens: 100 }))).status).toBe(200);
});

test('G5: without a maximum the default is set aside, times the choices asked for', async () => {
  const client = await clientOf(10_000);
  const held = async (more: Record<string, unknown>) => {
    will(up.says('x', up.usage(1, 1)));
    return (await exchange(client, chat(more))).row.held.micro;
  };
  const one = await held({});
  expect(one).toBeGreaterThanOrEqual(4_096 * 800);
  expect(await held({ n: 10 })).toBeGreaterThanOrEqual(10 * 4_096 * 800);
  expect(await held({ n: 100, max_tokens: 50 })).toBeGreaterThanOrEqual(100 * 50 * 800);
  expect(await held({ max_tokens: 10, max_completion_tokens: 1_000 })).toBeGreaterThanOrEqual(1_000 * 800);
  const prompts = { model: 'fake-model', prompt: ['a', 'b', 'c'], best_of: 5, n: 2, max_tokens: 100 };
  will(up.says('x', up.usage(1, 1)));
  const { row } = await exchange(client, prompts, { path: '/v1/completions' });
  expect(row.held.micro).toBeGreaterThanOrEqual(3 * 5 * 100 * 800);
});

test('G5: more choices than there are credits for are refused, so n cannot get round the cap', async () => {
  const client = await clientOf(1);
  const result = await ask(client, chat({ n: 128, max_tokens: 50 }));
  expect([result.status, errorOf(result).code]).toEqual([402, 'request_exceeds_balance']);
});

const NUMBERS = ['-1', '0', '1.5', '"100"', '1e308', '1e309', '9007199254740993', '[]', 'true', '{}', 'NaN', '-0'];

test.each(NUMBERS)('G6: max_tokens of %s is a 400 and sets nothing aside', async (number) => {
  const client = await clientOf(10);
  const before = upstream.requests.length;
  for (const key of ['max_tokens', 'max_completion_tokens', 'n', 'best_of']) {
    const result = await ask(client, JSON.stringify(chat()).replace('{', `{"${key}":${number},`));
    expect([key, result.status]).toEqual([key, 400]);
    expect(['invalid_number', 'invalid_json']).toContain(errorOf(result).code);
  }
  await expectUntouched(client, before, 10);
});

test.each([
  ['gpt-4o', 404, 'model_not_found'],
  ['fake-unpriced', 400, 'model_not_priced'],
  ['fake-gone', 400, 'model_not_priced'],
  ['__proto__', 400, 'model_not_priced'],
  ['constructor', 400, 'model_not_priced'],
  ['toString', 400, 'model_not_priced'],
  ['hasOwnProperty', 404, 'model_not_found'],
  ['fake-model\u0000', 400, 'model_not_priced'],
  ['FAKE-MODEL', 404, 'model_not_found'],
] as const)('G7: the model %j is refused rather than served for nothing', async (model, status, code) => {
  const client = await clientOf(10);
  const before = upstream.requests.length;
  for (const path of [CHAT, '/v1/completions', '/v1/embeddings']) {
    const body = { ...chat(), model, prompt: 'x', input: 'x' };
    const result = await post(client, path, JSON.stringify(body)).end();
    expect([path, result.status, errorOf(result).code, errorOf(result).param]).toEqual([path, status, code, 'model']);
  }
  await expectUntouched(client, before, 10);
});

test('B4: a key that is there twice is refused, because two readers could read it in two ways', async () => {
  const client = await clientOf(10);
  for (const twice of [
    '"model":"fake-flat",',
    '"\\u006dodel":"fake-flat",',
    '"max_tokens":1,"max_tokens":2,',
    '"stream":true,"stream":false,',
  ]) {
    const result = await ask(client, JSON.stringify(chat()).replace('{', `{${twice}`));
    expect([twice, result.status, errorOf(result).code]).toEqual([twice, 400, 'duplicate_key']);
  }
});

test('G9: the first requests of a new token, all at once, keep its quota', async () => {
  const client = await clientOf(1_000, { quota: 30 });
  upstream.always(up.says(up.gate('g9'), 'x', up.usage(1, 1)));
  const before = upstream.requests.length;
  const answers = Array.from({ length: 40 }, () => ask(client, flat));
  let refused = 0;
  for (const one of answers)
    one.then(
      ({ status }) => (refused += status === 429 ? 1 : 0),
      () => undefined,
    );
  await eventually('37 refusals', async () => (refused === 37 ? true : undefined));
  expect(upstream.requests.length - before).toBe(3);
  upstream.open('g9');
  expect((await Promise.all(answers)).filter(({ status }) => status === 200)).toHaveLength(3);
});

test('G15: what a token may not do sets nothing aside', async () => {
  const before = upstream.requests.length;
  const onlyFlat = await clientOf(10, { models: ['other-*'] });
  expect(errorOf(await ask(onlyFlat, flat))).toMatchObject({ code: 'model_not_allowed' });
  const elsewhere = await clientOf(10, { ip_allow: ['10.0.0.0/8'] });
  expect(errorOf(await ask(elsewhere, flat))).toMatchObject({ code: 'ip_not_allowed' });
  const slow = await clientOf(10, { rate: { rpm: 1 } });
  await expectUntouched(onlyFlat, before, 10);
  await expectUntouched(elsewhere, before, 10);
  expect((await ask(slow, { ...flat, model: 'fake-model', max_tokens: 1 })).status).toBe(200);
  const limited = await ask(slow, { ...flat, model: 'fake-model', max_tokens: 1 });
  expect([limited.status, errorOf(limited).code]).toEqual([429, 'rate_limit_exceeded']);
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
});

// A7
test('G15: paused is 403, resumed is served, expired and revoked are 401, from the very next request on', async () => {
  const client = await clientOf(100);
  const status = async () => [(await ask(client, flat)).status, (await ask(client, flat)).json?.['error']] as const;
  expect((await status())[0]).toBe(200);
  const act = (verb: string) => farebox.api('POST', `/api/v1/orgs/${client.orgId}/tokens/${client.tokenId}/${verb}`, {});
  expect((await act('pause')).status).toBe(200);
  expect(await status()).toMatchObject([403, { code: 'token_paused' }]);
  expect((await act('resume')).status).toBe(200);
  expect((await status())[0]).toBe(200);
  await patchOrg(client, { status: 'suspended' });
  expect(await status()).toMatchObject([403, { code: 'organization_suspended' }]);
  await patchOrg(client, { status: 'active' });
  const soon = new Date(Date.now() + 400).toISOString();
  expect((await patchToken(client, { expires_at: soon })).status).toBe(200);
  await eventually('the token has expired', async () => ((await ask(client, chat({ max_tokens: 1 }))).status === 401 ? true : undefined));
  expect(await status()).toMatchObject([401, { code: 'token_expired' }]);
  expect((await patchToken(client, { expires_at: null })).status).toBe(200);
  const gone = await farebox.api('DELETE', `/api/v1/orgs/${client.orgId}/tokens/${client.tokenId}`);
  expect(gone.status).toBeLessThan(300);
  expect(await status()).toMatchObject([401, { code: 'token_revoked' }]);
});

test('G16: of two upstreams with different prices the dearer one is set aside, and the one that served is charged', async () => {
  const client = await clientOf(10_000);
  const held = async (model: string) => {
    const { row } = await exchange(client, chat({ model, max_tokens: 50 }));
    return row.held.micro;
  };
  will(...Array.from({ length: 2 }, () => up.says('x', up.usage(10, 2))));
  const [dear, cheap] = [await held('fake-dear'), await held('fake-main')];
  expect(dear).toBeGreaterThan(5 * cheap);
  will(up.says('x', up.usage(10, 2)));
  const first = (await exchange(client, chat({ model: 'eitherone', max_tokens: 50 }))).row;
  expect(first).toMatchObject({
    upstream: 'cheap',
    served_model: 'fake-model',
    held: { micro: dear },
    charged: { micro: fakeCost(10, 2) },
  });
  will(up.fails(503), up.says('x', up.usage(10, 2)));
  const second = (await exchange(client, chat({ model: 'eitherone', max_tokens: 50 }))).row;
  expect(second).toMatchObject({ upstream: 'dear', held: { micro: dear }, charged: { micro: 10 * fakeCost(10, 2) } });
});

test('G16: a name of ours with a price costs that, whichever upstream serves it', async () => {
  const client = await clientOf(1_000);
  will(up.says('x', up.usage(10, 2)));
  const { row } = await exchange(client, chat({ model: 'fake-two' }));
  expect(row).toMatchObject({ upstream: 'fake', served_model: 'fake-two', charged: { micro: fakeCost(10, 2) } });
});

test('G13: a script the server has forgotten is sent again, and the request does not notice', async () => {
  const client = await clientOf(100);
  for (let i = 0; i < 4; i++) {
    await command(redis.port, 'SCRIPT', 'FLUSH');
    will(up.says('x', up.usage(10, 2)));
    const { row } = await exchange(client, chat());
    expect(row.charged.micro).toBe(fakeCost(10, 2));
  }
});

test('G10: while Redis does not answer nobody is let in, and nobody is told that his token or credits are wrong', async () => {
  const client = await clientOf(100);
  expect((await ask(client, flat)).status).toBe(200);
  const before = upstream.requests.length;
  redis.pause();
  try {
    const results = await Promise.all([ask(client, flat), ask(client, chat({ stream: true })), ask(client, flat)]);
    for (const result of results) {
      expect([result.status, errorOf(result).code]).toEqual([503, 'billing_unavailable']);
      expect(result.headers.get('x-should-retry')).toBe('true');
      expect(Number(result.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(upstream.requests.length).toBe(before);
  } finally {
    redis.resume();
  }
  const again = await eventually('requests are let in again', async () => {
    const result = await ask(client, flat);
    return result.status === 200 ? result : undefined;
  });
  expect((await rowOf(farebox, client.orgId, requestIdOf(again))).charged.micro).toBe(10_000_000);
  const rows = await farebox.logs(client.orgId);
  expect((await quiet(farebox, client.orgId)).available).toBe(100_000_000 - rows.length * 10_000_000);
});

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, []);
});
