import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, exchange, expectCleanBooks, fakeCost, post, quiet, requestIdOf, rowOf, scriptOf } from './books.js';

const KEY = 'sk-canary-9f3c1b7de2a84456';
let first: up.Upstream;
let second: up.Upstream;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

beforeAll(async () => {
  [first, second] = await Promise.all([up.startUpstream(), up.startUpstream()]);
  const price = { ratio: 1, output: '4x', cached: '0.5x' };
  farebox = await startFarebox({
    upstream: first.url,
    config: {
      upstreams: {
        fake: { api_key: KEY, retries: 3 },
        once: { base_url: first.url, api_key: KEY, models: ['once-*'], retries: 0, timeouts: { first_byte: '1s', idle: '1s' } },
        'pair-1': { base_url: first.url, api_key: KEY, models: ['pair-*'], retries: 1, priority: 1 },
        'pair-2': { base_url: second.url, api_key: KEY, models: [{ name: 'pair-*', as: 'other-name' }], retries: 0, priority: 2 },
      },
      models: { 'once-model': price, 'pair-model': price },
    },
    env: { FAREBOX_LOG_LEVEL: 'trace' },
  });
  const { orgId, token } = await farebox.customer(100_000);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(first);
});
afterAll(() => Promise.all([first.stop(), second.stop()]));

const ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const;

function bodyFor(path: string, model: string, content: string, stream: boolean): Record<string, unknown> {
  if (path.endsWith('/embeddings')) return { model, input: content };
  const what = path.endsWith('/chat/completions') ? { messages: [{ role: 'user', content }] } : { prompt: content };
  return { model, ...what, ...(stream ? { stream } : {}) };
}

const chat = (model: string, stream = false) => bodyFor(ENDPOINTS[0], model, 'hi', stream);

test('G60: four attempts at the same upstream are one request and one charge', async () => {
  const before = first.requests.length;
  will(up.fails(500), up.fails(503), up.says(up.reset()), up.says('at last', up.usage(6, 2)));
  const { row, result } = await exchange(me, chat('fake-model'));
  expect(result.status).toBe(200);
  expect(first.requests.length - before).toBe(4);
  expect(row).toMatchObject({ attempts: 4, status: 'complete', charged: { micro: fakeCost(6, 2) } });
  const { routing } = row as unknown as { routing: { upstream: string; status: number | null; failure: string | null; ms: number }[] };
  expect(routing.map(({ status, failure }) => status ?? failure)).toEqual([500, 503, expect.any(String), 200]);
  expect(new Set(routing.map(({ upstream }) => upstream)).size).toBe(1);
  expect(Math.min(...routing.map(({ ms }) => ms))).toBeGreaterThanOrEqual(0);
  const ids = first.requests.slice(before).map(({ headers }) => headers.get('x-client-request-id'));
  expect(new Set(ids)).toEqual(new Set([row.request_id]));
});

// B27
test('G61: an Idempotency-Key sent again is told 409, and only the first was charged', async () => {
  const before = first.requests.length;
  const wallet = await quiet(farebox, me.orgId);
  will(up.says('once', up.usage(6, 2)));
  const headers = { 'Idempotency-Key': "order 1 ' OR 1=1 {}*:" };
  const original = await exchange(me, chat('fake-model'), { headers });
  for (const body of [chat('fake-model'), chat('once-model')]) {
    const again = await post(me, ENDPOINTS[0], JSON.stringify(body), { headers }).end();
    expect(again.status).toBe(409);
    expect(errorOf(again)).toMatchObject({ code: 'idempotency_key_reused', metadata: { original_request_id: original.row.request_id } });
    expect(again.headers.get('x-should-retry')).toBe('false');
  }
  expect(first.requests.length - before).toBe(1);
  expect((await quiet(farebox, me.orgId)).available).toBe(wallet.available - fakeCost(6, 2));
});

test('G61: of ten with one key at once, one is carried out', async () => {
  const before = first.requests.length;
  will(up.says(up.gate('ten'), 'x', up.usage(6, 1)));
  const send = () => post(me, ENDPOINTS[0], JSON.stringify(chat('fake-model')), { headers: { 'Idempotency-Key': 'ten at once' } }).end();
  const answers = Array.from({ length: 10 }, send);
  const statuses: number[] = [];
  for (const one of answers) one.then(({ status }) => statuses.push(status));
  await first.reached('ten');
  while (statuses.length < 9) await new Promise((go) => setTimeout(go, 10));
  first.open('ten');
  await Promise.all(answers);
  expect(statuses).toEqual([...Array(9).fill(409), 200]);
  expect(first.requests.length - before).toBe(1);
});

test('G61: a key whose request was refused may be used again', async () => {
  const { orgId } = me;
  const poor = await farebox.createToken(orgId, { quota: '0.000001' });
  const headers = { 'Idempotency-Key': 'second thoughts' };
  const client = { ...me, token: poor.secret };
  expect((await post(client, ENDPOINTS[0], JSON.stringify(chat('fake-model')), { headers }).end()).status).toBe(402);
  expect((await farebox.api('PATCH', `/api/v1/orgs/${orgId}/tokens/${poor.id}`, { quota: '100' })).status).toBe(200);
  expect((await post(client, ENDPOINTS[0], JSON.stringify(chat('fake-model')), { headers }).end()).status).toBe(200);
});

test.each([
  ['refuses', up.fails(503)],
  ['hits its limit', up.fails(429)],
  ['does not know our key', up.fails(401)],
  ['hangs up', up.says(up.close())],
] as const)('G16: when the first upstream %s, the second serves, once and at its price', async (_how, answer) => {
  const before = second.requests.length;
  first.always(answer);
  second.will(up.says('from the second', up.usage(8, 3)));
  const { row, result } = await exchange(me, chat('pair-model', true));
  expect(result).toMatchObject({ text: 'from the second', done: true });
  expect(second.requests.length - before).toBe(1);
  expect(second.requests.at(-1)?.json['model']).toBe('other-name');
  expect(row).toMatchObject({ model: 'pair-model', served_model: 'other-name', upstream: 'pair-2', charged: { micro: fakeCost(8, 3) } });
});

test('an upstream that cannot be reached is passed over too', async () => {
  await first.refuse();
  second.will(up.says('here', up.usage(8, 1)));
  const { row } = await exchange(me, chat('pair-model'));
  await first.listen();
  expect(row).toMatchObject({ upstream: 'pair-2', attempts: 3, charged: { micro: fakeCost(8, 1) } });
});

test('G62: after the first byte nobody else is asked, so no two answers are ever joined', async () => {
  const before = second.requests.length;
  will(up.says('one ', 'two ', 'three ', up.reset()));
  const { row, result } = await exchange(me, chat('pair-model', true));
  expect(result).toMatchObject({ text: 'one two three ', done: false });
  expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'upstream_disconnected');
  expect(second.requests.length).toBe(before);
  expect(row).toMatchObject({ status: 'partial', upstream: 'pair-1', attempts: 1 });
});

test('G65: what is not priced is not passed on, whatever the method', async () => {
  const before = first.requests.length;
  for (const path of ['/v1/responses', '/v1/files', '/v1/fine_tuning/jobs', '/v1/images/generations', '/v1/chat', '/v1/chat/completions/'])
    for (const method of ['GET', 'POST', 'DELETE', 'PUT']) {
      const result = await post(me, path, '{"model":"fake-model"}', { method }).end();
      expect([method, path, result.status, errorOf(result).code]).toEqual([method, path, 404, 'unknown_url']);
    }
  expect(first.requests.length).toBe(before);
});

const ENDINGS: readonly (readonly [name: string, answer: up.Answer, status: number])[] = [
  ['400', up.fails(400), 400],
  ['404', up.fails(404), 404],
  ['422', up.fails(422), 422],
  ['429', up.fails(429, { retryAfter: 7 }), 429],
  ['401', up.fails(401), 502],
  ['402', up.fails(402), 502],
  ['403', up.fails(403), 502],
  ['500', up.fails(500), 502],
  ['503', up.fails(503), 502],
  ['504', up.fails(504), 504],
  ['a redirect', up.redirects('http://169.254.169.254/'), 502],
  ['a reset', up.says(up.reset()), 502],
  ['a close', up.says(up.close()), 502],
  ['a reset after the headers', up.says(up.headers(), up.reset()), 502],
  ['an HTML page', up.returns('<html>busy</html>', { type: 'text/html' }), 502],
  ['an empty 200', up.returns(''), 502],
  ['broken JSON', up.returns('{"error": "', {}), 502],
  ['no HTTP', up.says(up.socketBytes('SSH-2.0-OpenSSH\r\n\r\n'), up.close()), 502],
  ['silence', up.says(up.hang()), 504],
];
const CASES = ENDPOINTS.flatMap((path) => (path.endsWith('embeddings') ? [false] : [false, true]).map((stream) => ({ path, stream })));

test.each(CASES)('G66: on $path (stream: $stream) every failure before the answer costs nothing', async ({ path, stream }) => {
  const wallet = await quiet(farebox, me.orgId);
  const done = await Promise.all(
    ENDINGS.map(async ([name, answer, status]) => {
      const { row, result } = await exchange(me, bodyFor(path, 'once-model', up.asking(answer), stream), { path });
      return { name, status, result, row };
    }),
  );
  for (const { name, status, result, row } of done) {
    expect([name, result.status, result.ending]).toEqual([name, status, 'complete']);
    expect(errorOf(result).message.length).toBeGreaterThan(10);
    expect([name, row.status, row.charged.micro, row.held.micro > 0]).toEqual([name, 'failed', 0, true]);
    expect([name, result.headers.get('x-credits-charged')]).toEqual([name, '0']);
    expect(Number(result.headers.get('x-credits-remaining'))).toBeGreaterThan(0);
  }
  expect(done.find(({ name }) => name === '429')?.result.headers.get('retry-after')).toBe('7');
  expect((await quiet(farebox, me.orgId)).available).toBe(wallet.available);
});

test('G68: a refusal by a content filter costs what the upstream reports for it', async () => {
  const refused = JSON.stringify({ error: { message: 'The prompt was filtered.', type: 'invalid_request_error', code: 'content_filter' } });
  will(
    up.says('I', up.finish('content_filter'), up.usageOf({ prompt_tokens: 40, completion_tokens: 1 })),
    up.fails(400, { body: refused }),
  );
  const filtered = await exchange(me, chat('once-model', true));
  expect(filtered.row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(40, 1) } });
  const { row, result } = await exchange(me, chat('once-model'));
  expect(errorOf(result)).toMatchObject({ code: 'content_filter', message: 'The prompt was filtered.' });
  expect(row.charged.micro).toBe(0);
});

const leak = (words: string) => JSON.stringify({ error: { message: `${words} ${KEY}.`, type: 'invalid_request_error', code: 'x' } });
const encoded = Buffer.from(KEY).toString('base64');
const LEAKS: readonly up.Answer[] = [
  ...[400, 401, 403, 404, 429, 500].map((status) => up.fails(status, { body: leak('Incorrect API key provided:') })),
  up.fails(400, { body: `<html>${KEY}</html>` }),
  up.fails(400, { body: leak('').replace(KEY, encoded) }),
  up.fails(400, { body: leak('').replace(KEY, `${KEY.slice(0, 14)}****`) }),
  up.over(up.fails(400, { body: leak('split') }), { split: 3 }),
  up.returns(leak('in a 200')),
  up.withHeaders(up.fails(400), ['Location', `http://x/${KEY}`], ['X-Request-Id', KEY], ['Set-Cookie', KEY]),
];

test('X11: the key of the operator never reaches a client or a log, whatever an upstream says', async () => {
  for (const answer of LEAKS)
    for (const stream of [false, true]) {
      will(answer);
      const { wire, ...got } = await post(me, ENDPOINTS[0], JSON.stringify(chat('once-model', stream))).end();
      for (const piece of [KEY, KEY.slice(0, 12), KEY.slice(-10), encoded]) expect(wire.toString()).not.toContain(piece);
      await rowOf(farebox, me.orgId, requestIdOf(got));
    }
  const log = farebox.stdout() + farebox.stderr();
  expect(log.length).toBeGreaterThan(100);
  for (const piece of [KEY, KEY.slice(3), encoded]) expect(log).not.toContain(piece);
});

test('X12: a redirect is not followed', async () => {
  const before = second.requests.length;
  for (const status of [301, 302, 307, 308]) {
    first.always(up.redirects(`${second.url}/chat/completions`, status));
    const { row, result } = await exchange(me, chat('fake-model'));
    expect([status, result.status, row.charged.micro]).toEqual([status, 502, 0]);
    expect(result.headers.get('location')).toBeUndefined();
  }
  expect(second.requests.length).toBe(before);
});

test('after all of this the books are clean and nothing is held', async () => {
  await Promise.all([first.quiet(), second.quiet()]);
  await expectCleanBooks(farebox, [me.orgId]);
});
