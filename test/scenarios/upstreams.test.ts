import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { call } from '../support/sse.js';
import * as up from '../support/upstream.js';
import {
  type Client,
  countedCost,
  errorOf,
  eventually,
  exchange,
  expectCleanBooks,
  fakeCost,
  post,
  requestIdOf,
  rowOf,
  scriptOf,
  walletOf,
} from './books.js';

// Each option of an upstream, by what it does; and answers nobody asked for.

let first: up.Upstream;
let second: up.Upstream;
/** Takes connections and never says a word on them, so nobody gets through a TLS handshake. */
let mute: Server;
const muted = new Set<Socket>();
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

const price = { ratio: 1, output: '4x', cached: '0.5x' };
const PATTERNS = ['capped', 'spill', 'far', 'late', 'short', 'plain', 'odd'] as const;

beforeAll(async () => {
  [first, second] = await Promise.all([up.startUpstream(), up.startUpstream()]);
  mute = createServer((socket) => void muted.add(socket.on('error', () => undefined))).listen(0, '127.0.0.1');
  await once(mute, 'listening');
  const { port } = mute.address() as { port: number };
  const at = (name: string, more: object = {}) => ({ base_url: first.url, api_key: 'key', models: [`${name}-*`], retries: 0, ...more });
  const onSecond = (name: string) => at(name, { base_url: second.url, priority: 2 });
  const { url } = await freshDatabase(inject('databaseUrl'));
  farebox = await startFarebox({
    upstream: first.url,
    databaseUrl: url,
    config: {
      upstreams: {
        capped: at('capped', { concurrency: 1 }),
        'spill-1': at('spill', { concurrency: 1, priority: 1, headers: { 'X-Team': 'red', 'OpenAI-Organization': 'org-ours' } }),
        'spill-2': onSecond('spill'),
        'far-1': at('far', { base_url: `https://127.0.0.1:${port}/v1`, retries: 1, priority: 1, timeouts: { connect: '200ms' } }),
        'far-2': onSecond('far'),
        'late-1': at('late', { priority: 1, timeouts: { first_byte: '500ms' } }),
        'late-2': onSecond('late'),
        short: at('short', { timeouts: { total: '1s' } }),
        plain: at('plain', { include_usage: false }),
        odd: at('odd'),
      },
      models: Object.fromEntries(PATTERNS.map((name) => [`${name}-model`, price])),
      gateway: { drain: '1s' },
    },
  });
  const { orgId, token } = await farebox.customer(1_000_000);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(first);
  second.always(up.says('from the second', up.usage(6, 2)));
});
afterAll(() => {
  for (const socket of muted) socket.destroy();
  mute.close();
  return Promise.all([first.stop(), second.stop()]);
});

const CHAT = '/v1/chat/completions';
const chat = (name: (typeof PATTERNS)[number], more: Record<string, unknown> = {}) => ({
  model: `${name}-model`,
  messages: [{ role: 'user', content: 'Say hello.' }],
  ...more,
});
const send = (body: object, headers: Record<string, string> = {}) => post(me, CHAT, JSON.stringify(body), { headers });
const seenOf = (requestId: string) =>
  [...first.requests, ...second.requests].find(({ headers }) => headers.get('x-client-request-id') === requestId);
const routingOf = (row: object) =>
  (row as { routing: { upstream: string; status: number | null; failure: string | null }[] }).routing.map(
    ({ upstream, status, failure }) => `${upstream} ${status ?? failure}`,
  );

test('concurrency: beyond it a request is told that the upstream is busy, costs nothing, and is served when there is room', async () => {
  will(up.says('one ', up.gate('capped'), 'two', up.usage(6, 2)));
  const running = send(chat('capped', { stream: true }));
  await running.until('one ');
  const before = first.requests.length;
  const { row, result } = await exchange(me, chat('capped'));
  expect([result.status, errorOf(result).code, result.headers.get('retry-after')]).toEqual([503, 'upstream_busy', '1']);
  expect(row).toMatchObject({ status: 'failed', charged: { micro: 0 } });
  expect(first.requests.length).toBe(before);
  first.open('capped');
  expect(await running.end()).toMatchObject({ text: 'one two', done: true });
  expect((await exchange(me, chat('capped'))).result.status).toBe(200);
});

test('concurrency: what one upstream has no room for goes to the next', async () => {
  will(up.says('one ', up.gate('spill'), 'two', up.usage(6, 2)));
  const running = send(chat('spill', { stream: true }));
  await running.until('one ');
  const { row } = await exchange(me, chat('spill'));
  expect(row).toMatchObject({ upstream: 'spill-2', status: 'complete', charged: { micro: fakeCost(6, 2) } });
  expect(routingOf(row)).toEqual(['spill-1 busy', 'spill-2 200']);
  first.open('spill');
  await running.end();
});

// X6
test('headers: what the operator adds reaches that upstream and no other, whatever the client sends', async () => {
  const mine = { 'X-Team': 'blue', 'OpenAI-Organization': 'org-mine' };
  const given = async (name: 'spill' | 'odd') => {
    const headers = seenOf(requestIdOf(await send(chat(name), mine).end()))?.headers;
    return [headers?.get('x-team'), headers?.get('openai-organization'), headers?.get('authorization')];
  };
  expect(await given('spill')).toEqual(['red', 'org-ours', 'Bearer key']);
  expect(await given('odd')).toEqual([undefined, undefined, 'Bearer key']);
});

test('include_usage false: the upstream gets the bytes of the client, and what it does not report is counted', async () => {
  will(up.says('Hel', 'lo', up.usage(6, 2)), up.says('Hel', 'lo', up.usage(6, 2)));
  const counted = await exchange(me, chat('plain', { stream: true }));
  const seen = seenOf(counted.row.request_id);
  expect(seen?.body.equals(counted.sent)).toBe(true);
  expect(counted.result.body.equals(seen?.delivered ?? Buffer.alloc(0))).toBe(true);
  const cost = await countedCost({ request: counted.sent, response: [counted.result.body], stream: true });
  expect(counted.row).toMatchObject({ source: 'estimated', flags: ['usage_missing'], charged: { micro: cost } });

  const asked = await exchange(me, chat('plain', { stream: true, stream_options: { include_usage: true } }));
  expect(seenOf(asked.row.request_id)?.body.equals(asked.sent)).toBe(true);
  expect(asked.result.body.toString()).toContain('"choices":[],"usage"');
  expect(asked.row).toMatchObject({ source: 'upstream', charged: { micro: fakeCost(6, 2) } });
});

test('timeouts.connect: an upstream that does not take the connection is passed over, after its retries', async () => {
  const { row } = await exchange(me, chat('far'));
  expect(routingOf(row)).toEqual(['far-1 timeout_connect', 'far-1 timeout_connect', 'far-2 200']);
  expect(row).toMatchObject({ upstream: 'far-2', status: 'complete', charged: { micro: fakeCost(6, 2) } });
});

test('timeouts.first_byte: an upstream that says nothing is left for the next; alone it is a 504 and costs nothing', async () => {
  will(up.says(up.hang()), up.says(up.hang()));
  const { row } = await exchange(me, chat('late', { stream: true }));
  expect(routingOf(row)).toEqual(['late-1 timeout_first_byte', 'late-2 200']);
  expect(row).toMatchObject({ upstream: 'late-2', charged: { micro: fakeCost(6, 2) } });
  await second.refuse();
  const alone = await exchange(me, chat('late'));
  await second.listen();
  expect([alone.result.status, alone.row.status, alone.row.charged.micro]).toEqual([502, 'failed', 0]);
  expect(routingOf(alone.row)[0]).toBe('late-1 timeout_first_byte');
  await first.quiet();
});

test('timeouts.total: a stream that goes on for too long is ended with an error event, and what came is charged', async () => {
  will(up.says('one ', up.gate('never'), 'two'));
  const { row, result, sent } = await exchange(me, chat('short', { stream: true }));
  expect(result).toMatchObject({ status: 200, text: 'one ', done: false, ending: 'complete' });
  expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'upstream_timeout');
  const delivered = [seenOf(row.request_id)?.delivered ?? Buffer.alloc(0)];
  expect(row).toMatchObject({
    status: 'partial',
    charged: { micro: await countedCost({ request: sent, response: delivered, stream: true }) },
  });
  will(up.says(up.gate('never'), 'two'));
  const plain = await exchange(me, chat('short'));
  expect([plain.result.status, errorOf(plain.result).code]).toEqual([504, 'upstream_timeout']);
  expect(plain.row).toMatchObject({ status: 'failed', charged: { micro: 0 } });
  first.open('never');
  await first.quiet();
});

/** A whole answer for the socket, one character a byte, with its end said by closing. */
const bare = (type: string, pieces: readonly string[], more = ''): up.Answer =>
  up.says(
    up.socketBytes(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${more}Connection: close\r\n\r\n`),
    ...pieces.map(up.socketBytes),
    up.close(),
  );

/** No UTF-8: bytes that never occur, half a character, one in more bytes than it needs, half of a surrogate pair. */
const BROKEN = ['\xff\xfe', '\xc3', '\xe6\xbc', '\xc0\xaf', '\xed\xa0\x80', '\xf4\x90\x80\x80', 'ok \x80'];
const delta = (text: string): string => `data: {"choices":[{"index":0,"delta":{"content":"${text}"},"finish_reason":null}]}\n\n`;
const END = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';
const USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":2,"total_tokens":8}}\n\n';
const DONE = 'data: [DONE]\n\n';

test.each(['whole', 'in single bytes'])(
  'broken UTF-8 in a stream that comes %s is passed on as it is, counted and settled',
  async (how) => {
    const events = [...BROKEN.map(delta), delta('\xe6\xbc'), delta('\xa2'), END];
    const cut = (texts: readonly string[]) => (how === 'whole' ? texts : [...texts.join('')]);
    will(bare('text/event-stream', cut([...events, DONE])), bare('text/event-stream', cut([...events, USAGE, DONE])));

    const counted = await exchange(me, chat('odd', { stream: true }));
    expect(counted.result.body.toString('latin1')).toBe([...events, DONE].join(''));
    const cost = await countedCost({ request: counted.sent, response: [counted.result.body], stream: true });
    expect(cost).toBeGreaterThan(await countedCost({ request: counted.sent, response: [], stream: true }));
    expect(counted.row).toMatchObject({ status: 'complete', source: 'estimated', charged: { micro: cost } });

    const reported = await exchange(me, chat('odd', { stream: true }));
    expect(reported.result.body.toString('latin1')).toBe([...events, DONE].join(''));
    expect(reported.row).toMatchObject({ status: 'complete', source: 'upstream', charged: { micro: fakeCost(6, 2) } });
  },
);

test('broken UTF-8 in a JSON answer is passed on as it is, and its usage charged', async () => {
  const body = `{"choices":[{"index":0,"message":{"content":"${BROKEN.join(' ')}"}}],"usage":{"prompt_tokens":6,"completion_tokens":2}}`;
  will(bare('application/json', [body]));
  const { row, result } = await exchange(me, chat('odd'));
  expect(result.body.toString('latin1')).toBe(body);
  expect(row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(6, 2) } });
});

// G14
test.each(['zstd', 'gzip, gzip', 'x', 'gzip'])(
  'an answer in content encoding %s that cannot be unpacked is no answer and costs nothing',
  async (encoding) => {
    for (const stream of [false, true]) {
      will(bare(stream ? 'text/event-stream' : 'application/json', [delta('hello'), DONE], `Content-Encoding: ${encoding}\r\n`));
      const { row, result } = await exchange(me, chat('odd', { stream }));
      expect([result.status, errorOf(result).code]).toEqual([502, 'upstream_bad_response']);
      expect(row).toMatchObject({ status: 'failed', charged: { micro: 0 } });
    }
  },
);

const BOMB_BYTES = 200_000_000;
const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } };
const BOMBS = [
  ['gzip', 'zeros', gzipSync(Buffer.alloc(BOMB_BYTES))],
  ['br', 'zeros', brotliCompressSync(Buffer.alloc(BOMB_BYTES), quick)],
  ['br', 'spaces', brotliCompressSync(Buffer.alloc(BOMB_BYTES, ' '), quick)],
] as const;

async function residentBytes(): Promise<number> {
  const text = (await call(`${farebox.url}/metrics`).end()).body.toString();
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]);
}

test.each(BOMBS)('a little %s that unpacks to 200 MB of %s fills no memory and costs nothing', async (encoding, _what, bomb) => {
  const before = await residentBytes();
  for (const stream of [false, true]) {
    const answers = Array.from({ length: 4 }, () =>
      bare(stream ? 'text/event-stream' : 'application/json', [bomb.toString('latin1')], `Content-Encoding: ${encoding}\r\n`),
    );
    will(...answers);
    const exchanged = await Promise.all(answers.map(() => exchange(me, chat('odd', { stream }))));
    for (const { row, result } of exchanged) {
      expect(row).toMatchObject({ status: 'failed', charged: { micro: 0 } });
      expect(result.body.length).toBeLessThan(20_000_000);
      expect(result.ending === 'complete' && result.status === 200 && !result.body.includes('"error"')).toBe(false);
    }
  }
  expect((await residentBytes()) - before).toBeLessThan(BOMB_BYTES);
});

test('when gateway.drain is over, running streams end with an error event, waiting calls with 503, and what was delivered is charged', async () => {
  will(up.says('one ', up.gate('for ever'), 'two'), up.says('one ', up.gate('for ever'), 'two'), up.says(up.gate('for ever'), 'late'));
  const body = chat('odd', { stream: true });
  const streams = [send(body), send(body)];
  await Promise.all(streams.map((one) => one.until('one ')));
  const waiting = send(chat('odd'));
  await eventually('three are running', async () =>
    first.requests.filter(({ endedAtMs }) => endedAtMs === null).length === 3 ? true : undefined,
  );
  expect((await walletOf(farebox, me.orgId)).inFlight).toBeGreaterThan(0);
  const exit = once(farebox.child, 'exit');
  farebox.child.kill('SIGTERM');
  const [results, late] = await Promise.all([Promise.all(streams.map((one) => one.end())), waiting.end()]);
  expect(await exit).toEqual([0, null]);
  expect([late.status, errorOf(late).code]).toEqual([503, 'shutting_down']);
  me = { ...me, farebox: await farebox.restart() };
  farebox = me.farebox;
  for (const result of results) {
    expect(result).toMatchObject({ text: 'one ', done: false, ending: 'complete' });
    expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'shutting_down');
    const delivered = Buffer.from(`${result.body.toString().split('\n\n')[0]}\n\n`);
    const cost = await countedCost({ request: Buffer.from(JSON.stringify(body)), response: [delivered], stream: true });
    expect(await rowOf(farebox, me.orgId, requestIdOf(result))).toMatchObject({ status: 'partial', charged: { micro: cost } });
  }
  expect(await rowOf(farebox, me.orgId, requestIdOf(late))).toMatchObject({ status: 'failed', charged: { micro: 0 } });
  expect((await walletOf(farebox, me.orgId)).inFlight).toBe(0);
  first.open('for ever');
});

test('after all of this the books are clean and nothing is held', async () => {
  await Promise.all([first.quiet(), second.quiet()]);
  await expectCleanBooks(farebox, [me.orgId]);
});
