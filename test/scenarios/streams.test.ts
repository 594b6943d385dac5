import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, counted, countedCost, exchange, expectCleanBooks, fakeCost, post, requestIdOf, rowOf, scriptOf } from './books.js';

let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({ upstream: upstream.url });
  const { orgId, token } = await farebox.customer(100_000);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => upstream.stop());

const chat = (more: Record<string, unknown> = {}) => ({
  model: 'fake-model',
  stream: true,
  messages: [{ role: 'user', content: 'Say hello to Ä and 漢字.' }],
  ...more,
});
const asked = { stream_options: { include_usage: true } };
const seenOf = (requestId: string) => upstream.requests.find(({ headers }) => headers.get('x-client-request-id') === requestId);

/** What of an upstream's bytes the client gets when it did not ask for usage. */
function withoutUsageChunk(delivered: Buffer): string {
  const events = delivered.toString('utf8').split(/(?<=\n\n)/);
  return events.filter((event) => !event.includes('"choices":[]')).join('');
}

test('G29: a usage chunk decides the charge, and its row says that the upstream counted', async () => {
  will(up.says('Hel', 'lo', up.usage(30, 5, { cached: 10, reasoning: 2 })));
  const { row, result } = await exchange(me, chat());
  expect(result).toMatchObject({ status: 200, text: 'Hello', done: true, ending: 'complete' });
  expect(row).toMatchObject({
    charged: { micro: fakeCost(30, 5, 10) },
    source: 'upstream',
    status: 'complete',
    stream: true,
    usage: { input: 30, cached_input: 10, output: 5, reasoning: 2 },
    flags: [],
  });
});

test.each([{}, { stream_options: { include_usage: false } }, { stream_options: null }])(
  'G30: a client with %j gets every byte except the usage chunk it did not ask for',
  async (options) => {
    will(up.says('Hel', up.comment(), 'lo', up.usage(7, 3)));
    const { row, result, sent } = await exchange(me, chat(options));
    const seen = seenOf(requestIdOf(result));
    expect(seen?.json['stream_options']).toEqual({ include_usage: true });
    if (Object.keys(options).length === 0)
      expect(seen?.body.toString()).toBe(`{"stream_options":{"include_usage":true},${sent.toString().slice(1)}`);
    expect(result.body.toString()).toBe(withoutUsageChunk(seen?.delivered ?? Buffer.alloc(0)));
    expect(result.body.toString()).not.toContain('prompt_tokens');
    expect(seen?.delivered.toString()).toContain('prompt_tokens');
    expect(row.charged.micro).toBe(fakeCost(7, 3));
  },
);

test('G31: a client that asked for usage gets the upstream byte for byte, usage last before the end', async () => {
  will(up.says('Hel', 'lo', up.usage(7, 3)));
  const { row, result, sent } = await exchange(me, chat(asked));
  const seen = seenOf(requestIdOf(result));
  expect(result.body.equals(seen?.delivered ?? Buffer.alloc(0))).toBe(true);
  expect(seen?.body.equals(sent)).toBe(true);
  expect(result.events.at(-1)?.data).toBe('[DONE]');
  expect(result.events.at(-2)?.json).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 3 } });
  expect(result.events.slice(0, -2).every(({ json }) => json?.['usage'] === null)).toBe(true);
  expect(row.charged.micro).toBe(fakeCost(7, 3));
});

test('G32: a stream without usage is counted by the published rule and marked as estimated', async () => {
  will(up.says('Grüße an 漢字 ', 'und alle.', up.noUsage()));
  const { row, result, sent } = await exchange(me, chat());
  expect(row).toMatchObject({ source: 'estimated', status: 'complete', flags: ['usage_missing'] });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [result.body], stream: true }));
  expect(row.usage.output).toBe((await counted({ request: sent, response: [result.body], stream: true })).output);
});

test('G33: usage of nothing is believed when nothing was delivered, and counted when something was', async () => {
  will(up.says(up.usage(0, 0)), up.says('something', up.usage(0, 0)));
  const nothing = await exchange(me, chat());
  expect(nothing.row).toMatchObject({ source: 'upstream', charged: { micro: 0 }, status: 'complete' });
  const { row, result, sent } = await exchange(me, chat());
  expect(row).toMatchObject({ source: 'estimated', flags: ['zero_usage_with_output'] });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [result.body], stream: true }));
  expect(row.charged.micro).toBeGreaterThan(0);
});

test('G34: of cumulative usage on every chunk the last counts, not the sum', async () => {
  will(up.says(...[1, 2, 3].map((n) => up.withUsage('x', { prompt_tokens: 11, completion_tokens: n })), up.finish('stop')));
  const { row, result } = await exchange(me, chat());
  expect(result.text).toBe('xxx');
  expect(row).toMatchObject({ source: 'upstream', charged: { micro: fakeCost(11, 3) } });
});

test('G35: usage is read beside content, after the finish reason, and the last of two', async () => {
  const five = { prompt_tokens: 9, completion_tokens: 5 };
  const six = { prompt_tokens: 9, completion_tokens: 6 };
  will(
    up.says(
      'a',
      up.event({ choices: [{ index: 0, delta: { content: 'b' }, finish_reason: 'stop' }], usage: five }),
      up.noUsage(),
      up.finish(null),
    ),
    up.says('a', up.finish('stop'), up.usageOf(five)),
    up.says('a', up.finish('stop'), up.usageOf(five), up.usageOf(six)),
  );
  const beside = await exchange(me, chat());
  expect(beside.result.text).toBe('ab');
  expect(beside.row.charged.micro).toBe(fakeCost(9, 5));
  expect((await exchange(me, chat())).row.charged.micro).toBe(fakeCost(9, 5));
  const twice = await exchange(me, chat());
  expect(twice.row.charged.micro).toBe(fakeCost(9, 6));
  expect(twice.result.body.toString()).not.toContain('prompt_tokens');
});

const ABSURD = [
  { prompt_tokens: -1, completion_tokens: 1 },
  { prompt_tokens: '12', completion_tokens: 1 },
  { prompt_tokens: 1.5, completion_tokens: 1 },
  { prompt_tokens: 5 },
  { prompt_tokens: 5, completion_tokens: 2 ** 53 },
  { prompt_tokens: 5, completion_tokens: 1e308 },
  'many',
  [],
];

test.each(ABSURD.map((usage) => ({ usage })))(
  'B8: usage $usage cannot be true, so the stream is counted and the row says so',
  async ({ usage }) => {
    will(up.says('four words of text', up.usageOf(usage)));
    const { row, result, sent } = await exchange(me, chat());
    expect(row.source).toBe('estimated');
    expect(row.flags.some((flag) => flag === 'usage_absurd' || flag === 'usage_missing')).toBe(true);
    const delivered = [result.body];
    expect(row.charged.micro).toBe(await countedCost({ request: sent, response: delivered, stream: true }));
  },
);

test('B8: a number too large for JavaScript is absurd, not infinite', async () => {
  will(
    up.says('x', up.finish('stop'), up.raw('data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1e309}}\n\n'), up.noUsage()),
  );
  const { row, result, sent } = await exchange(me, chat());
  expect(row).toMatchObject({ source: 'estimated', flags: ['usage_absurd'] });
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [result.body], stream: true }));
});

test('G42: a reader who stops is felt by the upstream, and gets every byte when it goes on', async () => {
  const steps = Array.from({ length: 300 }, () => up.huge(100_000));
  will(up.says('first', ...steps, up.gate('all sent'), up.usage(10, 300)));
  let allSent = false;
  const sending = upstream.reached('all sent').then(() => {
    allSent = true;
  });
  const slow = post(me, '/v1/chat/completions', JSON.stringify(chat()));
  await slow.until('first');
  slow.pause();
  // Without backpressure thirty megabytes would be through long before this.
  await new Promise((go) => setTimeout(go, 1_500));
  expect(allSent).toBe(false);
  upstream.open('all sent');
  slow.resume();
  await sending;
  const result = await slow.end();
  expect(result.done).toBe(true);
  expect(result.text.length).toBe(5 + 30_000_000);
  expect((await rowOf(farebox, me.orgId, requestIdOf(result))).charged.micro).toBe(fakeCost(10, 300));
});

const PIECES = up.says('Grüße ', up.comment(), '漢字 😀', up.usage(7, 3));

test.each(['\n', '\r\n', '\r'] as const)('G43: with line end %j in single bytes the client gets the same bytes', async (eol) => {
  will(up.over(PIECES, { split: 1, eol }), up.over(PIECES, { split: 1, eol, bom: true }));
  for (const bom of [false, true]) {
    const { row, result } = await exchange(me, chat(asked));
    expect(result.body.equals(seenOf(requestIdOf(result))?.delivered ?? Buffer.alloc(0))).toBe(true);
    expect(result).toMatchObject({ text: 'Grüße 漢字 😀', done: true });
    expect(result.body[0] === 0xef).toBe(bom);
    expect(row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(7, 3) } });
  }
});

test('G43: cut in two at every byte, a stream stays the same stream and costs the same', async () => {
  will(PIECES);
  const whole = await exchange(me, chat());
  const length = seenOf(requestIdOf(whole.result))?.delivered.length ?? 0;
  expect(length).toBeGreaterThan(500);
  const offsets = Array.from({ length: length - 1 }, (_, i) => 1 + i);
  for (const offset of offsets) {
    will(up.over(PIECES, { split: [offset] }));
    const result = await post(me, '/v1/chat/completions', JSON.stringify(chat())).end();
    expect(stable(result.body)).toBe(stable(whole.result.body));
  }
  const logs = await farebox.logs(me.orgId, '?limit=50');
  expect(new Set(logs.slice(0, 20).map(({ charged }) => (charged as { micro: number }).micro))).toEqual(new Set([fakeCost(7, 3)]));
});

const stable = (body: Buffer): string => body.toString().replace(/"id":"[^"]*"/g, '');

test('G43: data over several lines, no last newline and a missing [DONE] are still complete', async () => {
  const lines = 'data: {"choices":[{"index":0,\ndata: "delta":{"content":"ab"},"finish_reason":"stop"}]}\n\n';
  const usage = up.usageOf({ prompt_tokens: 4, completion_tokens: 2 });
  will(
    up.says(up.raw(lines), up.finish('stop'), usage),
    up.says('ab', up.finish('stop'), usage, up.raw('data: [DONE]'), up.noDone()),
    up.says('ab', up.finish('stop'), usage, up.noDone()),
  );
  for (const how of ['lines', 'no newline', 'no done']) {
    const { row, result } = await exchange(me, chat());
    expect([how, row.status, row.charged.micro]).toEqual([how, 'complete', fakeCost(4, 2)]);
    expect(result.ending).toBe('complete');
    expect(result.body.toString()).not.toContain('"error"');
  }
});

// E7
test('G44: one event of ten megabytes passes unchanged and is charged by its usage', async () => {
  will(up.says(up.huge(10_000_000), up.usage(5, 9)));
  const { row, result } = await exchange(me, chat(asked));
  expect(result.body.equals(seenOf(requestIdOf(result))?.delivered ?? Buffer.alloc(0))).toBe(true);
  expect(row).toMatchObject({ status: 'complete', source: 'upstream', charged: { micro: fakeCost(5, 9) } });
});

test('G45: tool calls and reasoning are output when we have to count', async () => {
  will(
    up.says('ok', up.noUsage()),
    up.says(
      up.reasons('Let me think about the weather in Oslo.'),
      up.calls('get_weather', '{"city":"Oslo","unit":"C"}'),
      'ok',
      up.noUsage(),
    ),
  );
  const bare = await exchange(me, chat());
  const { row, result, sent } = await exchange(me, chat());
  const rule = await counted({ request: sent, response: [result.body], stream: true });
  expect(row).toMatchObject({ source: 'estimated', usage: { output: rule.output }, charged: { micro: fakeCost(rule.input, rule.output) } });
  expect(row.usage.output).toBeGreaterThan(bare.row.usage.output + 12);
});

test('G46: a compressed answer is unpacked, because the client was promised plain bytes', async () => {
  will(
    up.over(up.says('Hel', 'lo', up.usage(7, 3)), { encoding: 'gzip' }),
    up.over(up.says('Hello', up.usage(7, 3)), { encoding: 'br' }),
    up.over(up.says('Hello', up.usage(7, 3)), { encoding: 'deflate' }),
  );
  const streamed = await exchange(me, chat());
  expect(streamed.result).toMatchObject({ text: 'Hello', done: true });
  expect(streamed.row.charged.micro).toBe(fakeCost(7, 3));
  for (const encoding of ['br', 'deflate']) {
    const { row, result } = await exchange(me, chat({ stream: false }));
    expect([encoding, result.json?.['choices']]).toMatchObject([encoding, [{ message: { content: 'Hello' } }]]);
    expect(result.headers.get('content-encoding')).toBeUndefined();
    expect(row.charged.micro).toBe(fakeCost(7, 3));
  }
});

test('B13: several choices are one charge, each counted', async () => {
  will(up.says('left ', up.onChoice(1, 'right side'), up.noUsage()));
  const { row, result, sent } = await exchange(me, chat({ n: 2 }));
  expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [result.body], stream: true }));
});

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, [me.orgId]);
});
