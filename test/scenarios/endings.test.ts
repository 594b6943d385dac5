import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import {
  type Client,
  counted,
  countedCost,
  errorOf,
  eventually,
  exchange,
  expectCleanBooks,
  fakeCost,
  post,
  quiet,
  type Row,
  requestIdOf,
  rowOf,
  scriptOf,
  walletOf,
} from './books.js';

let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({
    upstream: upstream.url,
    config: {
      upstreams: {
        silent: {
          base_url: upstream.url,
          api_key: 'upstream-secret',
          models: ['silent-*'],
          retries: 0,
          timeouts: { first_byte: '1s', idle: '1s' },
        },
      },
      models: { 'silent-model': { ratio: 1, output: '4x', cached: '0.5x' } },
      gateway: { write_stall: '1s' },
    },
  });
  const { orgId, token } = await farebox.customer(100_000);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => upstream.stop());

const CHAT = '/v1/chat/completions';
const chat = (more: Record<string, unknown> = {}) => ({
  model: 'fake-model',
  stream: true,
  messages: [{ role: 'user', content: 'Count to ten in words, please.' }],
  ...more,
});
const NOTHING: readonly Buffer[] = [];
const seenOf = (requestId: string) => upstream.requests.find(({ headers }) => headers.get('x-client-request-id') === requestId);

/** The newest row of the organization, for exchanges whose client never saw an answer. */
async function newestRow(before: number): Promise<Row> {
  return eventually('one more row', async () => {
    const rows = await farebox.logs(me.orgId, '?limit=200');
    return rows.length > before ? (rows[0] as unknown as Row) : undefined;
  });
}
const rowsSoFar = async () => (await farebox.logs(me.orgId, '?limit=200')).length;

test('G36: a client that leaves a stream before its first byte owes the input', async () => {
  const before = await rowsSoFar();
  will(up.says(up.gate('never'), 'too late'));
  const sent = Buffer.from(JSON.stringify(chat()));
  const leaving = post(me, CHAT, sent);
  await upstream.reached('never');
  leaving.hangUp();
  const row = await newestRow(before);
  await upstream.quiet();
  expect(upstream.requests.at(-1)).toMatchObject({ ending: 'aborted', text: '' });
  const { input } = await counted({ request: sent, response: NOTHING, stream: true });
  expect(row).toMatchObject({
    status: 'cancelled',
    source: 'estimated',
    usage: { input, output: 0 },
    charged: { micro: fakeCost(input, 0) },
  });
});

test('G36: a client that leaves a plain call pays for the whole answer, which is finished without it', async () => {
  const before = await rowsSoFar();
  will(up.says(up.gate('plain'), 'a whole answer', up.usage(9, 2)));
  const leaving = post(me, CHAT, JSON.stringify(chat({ stream: false })));
  await upstream.reached('plain');
  leaving.hangUp();
  await new Promise((go) => setTimeout(go, 100)); // the close has to arrive before the answer does
  upstream.open('plain');
  const row = await newestRow(before);
  expect(upstream.requests.at(-1)?.ending).toBe('complete');
  expect(row).toMatchObject({ status: 'cancelled', source: 'upstream', charged: { micro: fakeCost(9, 2) } });
});

// B10
test('G37: a client that leaves in the middle pays the input and what was delivered', async () => {
  const before = await rowsSoFar();
  will(up.says('one ', 'two ', 'three ', up.gate('middle'), 'four ', up.noUsage()));
  const sent = Buffer.from(JSON.stringify(chat()));
  const leaving = post(me, CHAT, sent);
  await leaving.until('three ');
  leaving.hangUp();
  const row = await newestRow(before);
  await upstream.quiet();
  const seen = upstream.requests.at(-1);
  expect(seen).toMatchObject({ ending: 'aborted', text: 'one two three ' });
  expect(row).toMatchObject({ status: 'cancelled', source: 'estimated' });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [seen?.delivered ?? Buffer.alloc(0)], stream: true }));
});

test.each(['reset', 'halfClose'] as const)('G37: %s is leaving like any other', async (how) => {
  const before = await rowsSoFar();
  will(up.says('one ', up.gate(how), 'two'));
  const leaving = post(me, CHAT, JSON.stringify(chat()));
  await leaving.until('one ');
  leaving[how]();
  expect((await newestRow(before)).status).toBe('cancelled');
  await upstream.quiet();
  expect(upstream.requests.at(-1)?.ending).toBe('aborted');
});

test('G38: of partial usage and our own count the larger is charged when a stream is cut', async () => {
  const much = { prompt_tokens: 1000, completion_tokens: 50 };
  const little = { prompt_tokens: 1, completion_tokens: 1 };
  will(up.says(up.withUsage('a', much), up.reset()), up.says(up.withUsage('some words that are more than one token', little), up.reset()));
  const reported = await exchange(me, chat());
  expect(reported.row).toMatchObject({ status: 'partial', charged: { micro: fakeCost(1000, 50) } });
  const ours = { input: expect.any(Number), output: expect.any(Number) };
  expect(reported.row).toMatchObject({ counting: { source: 'upstream', upstream: { input: 1000, output: 50 }, tokenizer: ours } });
  const { row, sent, result } = await exchange(me, chat());
  const frames = result.body.toString().split(/(?<=\n\n)/);
  const delivered = Buffer.from(frames.slice(0, -1).join(''));
  const { input, output } = row.usage;
  expect(row).toMatchObject({ status: 'partial', source: 'estimated' });
  expect(row).toMatchObject({ counting: { upstream: { input: 1, output: 1 }, tokenizer: { input, output } } });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [delivered], stream: true }));
});

test.each([
  ['reset', up.reset()],
  ['closed', up.close()],
] as const)('G39: a stream %s in the middle ends with an error, no [DONE], and is charged as far as it came', async (_how, cut) => {
  will(up.says('one ', 'two ', cut));
  const { row, result, sent } = await exchange(me, chat());
  expect(result).toMatchObject({ status: 200, text: 'one two ', done: false, ending: 'complete' });
  const last = result.events.at(-1)?.json?.['error'];
  expect(last).toMatchObject({ type: 'upstream_error', param: null, code: expect.stringMatching(/^upstream_(disconnected|truncated)$/) });
  const delivered = [seenOf(row.request_id)?.delivered ?? Buffer.alloc(0)];
  expect(row).toMatchObject({ status: 'partial', source: 'estimated' });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: delivered, stream: true }));
});

test('G39: half an event before the cut does not swallow the error', async () => {
  will(up.says('one ', up.raw('data: {"choices":[{"index":0,"delta":{"content":"ha'), up.reset()));
  const { result } = await exchange(me, chat());
  expect(result.body.toString()).not.toContain('"ha');
  expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'upstream_disconnected');
});

test('G40: an error inside the stream becomes our error, and what was delivered is charged', async () => {
  will(up.says('one ', up.errorEvent('Incorrect API key provided: upstream-secret'), 'two'));
  const { row, result, sent } = await exchange(me, chat());
  expect(result).toMatchObject({ text: 'one ', done: false, ending: 'complete' });
  expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'upstream_error');
  expect(result.wire.toString()).not.toContain('upstream-secret');
  const delivered = Buffer.from(`${result.body.toString().split('\n\n')[0]}\n\n`);
  expect(row).toMatchObject({ status: 'partial' });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [delivered], stream: true }));
});

test.each([
  ['an error event', up.says(up.errorEvent('overloaded'))],
  ['comments and then an error event', up.says(up.comment('PROCESSING'), up.errorEvent('overloaded'))],
  ['an end of stream', up.says(up.headers(), up.close())],
  ['an empty body', up.returns('', { type: 'text/event-stream' })],
])('B11: %s before anything was said costs nothing and is a failure', async (_what, answer) => {
  upstream.always(answer);
  const { row, result } = await exchange(me, chat());
  const error = result.status === 200 ? result.events.at(-1)?.json?.['error'] : result.json?.['error'];
  expect(error).toMatchObject({ type: 'upstream_error' });
  expect(result.done).toBe(false);
  expect(row).toMatchObject({ charged: { micro: 0 }, usage: { input: 0, output: 0 } });
});

test('B11: an error object in a plain 200 costs nothing however long it is; a long answer that only mentions one is paid for', async () => {
  const long = 'x'.repeat(100_000);
  const message = { role: 'assistant', content: long, extra: { error: 'none' } };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
  will(up.returns(JSON.stringify({ error: { message: long } })), up.returns(JSON.stringify({ error: null, choices, usage })));
  const failed = await exchange(me, chat({ stream: false }));
  expect([failed.result.status, errorOf(failed.result).code]).toEqual([502, 'upstream_error']);
  expect(failed.row).toMatchObject({ charged: { micro: 0 }, status: 'failed' });
  const paid = await exchange(me, chat({ stream: false }));
  expect(paid.row).toMatchObject({ charged: { micro: fakeCost(3, 4) }, status: 'complete' });
});

test('B11: an error object in a plain 200 costs nothing', async () => {
  will(up.returns(JSON.stringify({ error: { message: 'quota of upstream-secret', code: 'x' } })));
  const { row, result } = await exchange(me, chat({ stream: false }));
  expect([result.status, errorOf(result).code]).toEqual([502, 'upstream_error']);
  expect(result.wire.toString()).not.toContain('upstream-secret');
  expect(row).toMatchObject({ charged: { micro: 0 }, status: 'failed' });
});

test('B5: a plain answer that breaks off is not passed on as if it were whole, and what came is charged', async () => {
  const whole = JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content: 'many words of an answer' } }] });
  will(up.over(up.returns(whole), { cut: { after: whole.length - 10, how: 'reset' } }));
  const { row, result, sent } = await exchange(me, chat({ stream: false }));
  expect([result.status, errorOf(result).code]).toEqual([502, 'upstream_disconnected']);
  const delivered = [Buffer.from(whole.slice(0, -10))];
  expect(row).toMatchObject({ status: 'partial', source: 'estimated' });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: delivered, stream: false }));
});

test('B15: an answer too large to be held back streams through, and without usage all of it is counted', async () => {
  const text = 'word '.repeat(300_000);
  will(up.says(text, up.usage(9, 300_000)), up.says(text, up.noUsage()));
  const reported = await exchange(me, chat({ stream: false }));
  expect(reported.row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(9, 300_000) } });
  expect(reported.result.headers.get('x-credits-charged')).toBeUndefined();
  expect(Number(reported.result.headers.get('x-credits-remaining'))).toBeGreaterThan(0);
  expect(JSON.stringify(reported.result.json).length).toBeGreaterThan(text.length);
  const { row } = await exchange(me, chat({ stream: false }));
  expect(row).toMatchObject({ status: 'complete', source: 'estimated' });
  expect(row.usage.output).toBeGreaterThan(290_000);
});

test('G41: an upstream that goes silent is given up with an error event, and nothing stays open', async () => {
  will(up.says('one ', up.hang()));
  const { row, result, sent } = await exchange(me, chat({ model: 'silent-model' }));
  expect(result).toMatchObject({ text: 'one ', done: false, ending: 'complete' });
  expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'upstream_timeout');
  await upstream.quiet();
  const delivered = [seenOf(row.request_id)?.delivered ?? Buffer.alloc(0)];
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: delivered, stream: true }));
  expect(row.status).toBe('partial');
});

// E6
test('F52: a client that stops reading for good is treated as gone, and pays for what it took', async () => {
  const before = await rowsSoFar();
  will(up.says('first', ...Array.from({ length: 300 }, () => up.huge(100_000)), up.usage(10, 300)));
  const stuck = post(me, CHAT, JSON.stringify(chat()));
  await stuck.until('first');
  stuck.pause();
  const row = await newestRow(before);
  expect(row.status).toBe('cancelled');
  expect(row.charged.micro).toBeGreaterThan(0);
  await upstream.quiet();
  expect(upstream.requests.at(-1)?.ending).toBe('aborted');
  stuck.hangUp();
});

test('X18: text that looks like the end of a stream or like an error stays text', async () => {
  const text = '\n\ndata: [DONE]\n\nevent: error\u2028data: {"error":{}}\r\n\r\n';
  will(up.says(text, up.usage(4, 8)));
  const { row, result } = await exchange(me, chat());
  expect(result.text).toBe(text);
  expect(row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(4, 8) } });
});

test('F52: an exchange nobody waits for sets nothing aside for ever', async () => {
  const calls = Array.from({ length: 20 }, (_, i) => {
    will(up.says(up.gate(`left ${i}`), 'x', up.noUsage()));
    return post(me, CHAT, JSON.stringify(chat()));
  });
  await Promise.all(calls.map((_, i) => upstream.reached(`left ${i}`)));
  expect((await walletOf(farebox, me.orgId)).inFlight).toBeGreaterThan(0);
  for (const one of calls) one.reset();
  await upstream.quiet();
});

test('a body as deep as its size allows is served, and neither credits nor its place stay behind', async () => {
  const before = await quiet(farebox, me.orgId);
  const text = `{"model":"fake-model","stream":true,"messages":[{"role":"user","content":"hi"}],"stream_options":{"x":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`;
  will(up.says('deep', up.usage(4, 8)));
  const result = await post(me, CHAT, text).end();
  expect([result.status, result.text]).toEqual([200, 'deep']);
  await rowOf(farebox, me.orgId, requestIdOf(result));
  expect((await quiet(farebox, me.orgId)).available).toBe(before.available - fakeCost(4, 8));
  await eventually('no request is open', async () => {
    const metrics = await (await fetch(`${farebox.url}/metrics`)).text();
    return /^farebox_open_requests 0$/m.test(metrics) ? true : undefined;
  });
});

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, [me.orgId]);
});
