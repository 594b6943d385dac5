import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lastFinishReason, lastUsage, StreamMeter } from '../../src/gateway/meter.js';

const KEEP = 1024 * 1024;

const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;
const delta = (content: string, finish: string | null = null): string =>
  event({ id: 'c', choices: [{ index: 0, delta: { content }, finish_reason: finish }], usage: null });
const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 };
const usageOnly = event({ id: 'c', choices: [], usage });
const DONE = 'data: [DONE]\n\n';

/** What the client gets when the stream arrives in pieces of this size. */
function relayed(stream: string, pieceBytes: number, hideUsage: boolean): { out: string; meter: StreamMeter; failed: boolean } {
  const meter = new StreamMeter({ hideUsage, keepBytesMax: KEEP });
  const bytes = Buffer.from(stream);
  const out: Buffer[] = [];
  let failed = false;
  for (let at = 0; at < bytes.length && !failed; at += pieceBytes) {
    const passed = meter.push(bytes.subarray(at, at + pieceBytes));
    if (passed.out) out.push(passed.out);
    failed = passed.failed;
  }
  const rest = failed ? { out: null, failed } : meter.finish();
  if (rest.out) out.push(rest.out);
  return { out: Buffer.concat(out).toString(), meter, failed: failed || rest.failed };
}

const plain = [delta('Grüße '), ': keep-alive\n\n', delta('漢字 😀'), delta('', 'stop'), usageOnly, DONE].join('');

test('bytes pass unchanged however the stream is cut', () => {
  for (let size = 1; size <= Buffer.byteLength(plain); size++) {
    const { out, meter } = relayed(plain, size, false);
    expect(out).toBe(plain);
    expect(meter.usage()).toEqual(usage);
    expect(meter.sawDone()).toBe(true);
  }
});

// B12
test('a usage chunk the client did not ask for is taken out, and nothing else', () => {
  const expected = plain.replace(usageOnly, '');
  for (let size = 1; size <= Buffer.byteLength(plain); size++) {
    const { out, meter } = relayed(plain, size, true);
    expect(out).toBe(expected);
    expect(meter.usage()).toEqual(usage);
  }
});

test('CRLF line ends, white space in JSON and a missing last newline are read', () => {
  const spaced = `data: {"choices": [ ], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}`;
  const stream = `${delta('a').replaceAll('\n', '\r\n')}${spaced}\r\n\r\ndata: [DONE]`;
  for (let size = 1; size <= stream.length; size++) {
    const { out, meter } = relayed(stream, size, true);
    expect(out).toBe(stream.replace(`${spaced}\r\n\r\n`, ''));
    expect(meter.usage()).toEqual({ prompt_tokens: 1, completion_tokens: 2 });
    expect(meter.sawDone()).toBe(true);
  }
});

test('usage on a chunk with content is read and the chunk stays', () => {
  const stream = event({ choices: [{ index: 0, delta: { content: 'x' }, finish_reason: 'stop' }], usage }) + DONE;
  const { out, meter } = relayed(stream, stream.length, true);
  expect(out).toBe(stream);
  expect(meter.usage()).toEqual(usage);
});

test('of cumulative usage the last one counts, not the sum', () => {
  const chunks = [1, 2, 3].map((n) =>
    event({ choices: [{ index: 0, delta: { content: 'x' } }], usage: { prompt_tokens: 5, completion_tokens: n } }),
  );
  expect(relayed(chunks.join('') + DONE, 9, true).meter.usage()).toEqual({ prompt_tokens: 5, completion_tokens: 3 });
});

test('text that looks like usage or an end does not count as one', () => {
  const stream = delta('"usage":{"prompt_tokens":0,"completion_tokens":0} data: [DONE]') + usageOnly;
  const { meter } = relayed(stream, 11, false);
  expect(meter.usage()).toEqual(usage);
  expect(meter.sawDone()).toBe(false);
});

test('an error object inside the stream ends it, and its words do not pass', () => {
  const stream = delta('a') + event({ error: { message: 'Incorrect API key provided: sk-canary-1234567890' } }) + delta('b');
  for (let size = 1; size <= stream.length; size++) {
    const { out, failed } = relayed(stream, size, true);
    expect(failed).toBe(true);
    expect(out).toBe(delta('a'));
  }
});

test('a chunk whose error is null is an ordinary chunk', () => {
  const stream = event({ choices: [{ index: 0, delta: { content: 'a' } }], error: null }) + DONE;
  expect(relayed(stream, stream.length, true)).toMatchObject({ out: stream, failed: false });
});

test('events that only look like errors pass unchanged, however many; after a few of them a true one is still found', () => {
  const broken = 'data:{"error"\n\n';
  const relayedAfter = (count: number) => {
    const stream = `${broken.repeat(count)}data: {"error":{"message":"x"}}\n\n`;
    const { out, failed } = relayed(stream, 64 * 1024, true);
    return { failed, isUnchanged: out === (failed ? broken.repeat(count) : stream) };
  };
  expect(relayedAfter(300)).toEqual({ failed: true, isUnchanged: true });
  expect(relayedAfter(30_000)).toEqual({ failed: false, isUnchanged: true });
});

test('a line that only begins like data after a space is none, for us as for every client', () => {
  const stream = ` data: {"error":{"message":"x"}}\n\n${DONE}`;
  expect(relayed(stream, stream.length, true)).toMatchObject({ out: stream, failed: false });
});

test('half an event is not passed on before it is whole', () => {
  const meter = new StreamMeter({ hideUsage: false, keepBytesMax: KEEP });
  expect(meter.push(Buffer.from('data: {"cho')).out).toBeNull();
  expect(meter.push(Buffer.from('ices":[]}\n\n')).out?.toString()).toBe('data: {"choices":[]}\n\n');
});

test('an event too large to hold back is passed on as it comes', () => {
  const huge = delta('x'.repeat(200_000)) + DONE;
  const { out, meter } = relayed(huge, 10_000, true);
  expect(out).toBe(huge);
  expect(meter.sawDone()).toBe(true);
  expect(meter.endsOpen()).toBe(false);
});

test('what is kept for counting is bounded, and events beyond it are counted', () => {
  const meter = new StreamMeter({ hideUsage: true, keepBytesMax: 1_000 });
  for (let i = 0; i < 100; i++) meter.push(Buffer.from(delta(`word${i} `)));
  meter.push(Buffer.from(usageOnly + DONE));
  expect(meter.overflowed).toBe(true);
  expect(meter.delivered().reduce((sum, chunk) => sum + chunk.length, 0)).toBeLessThanOrEqual(1_000);
  expect(meter.eventsDelivered()).toBe(101);
  expect(meter.usage()).toEqual(usage);
  expect(meter.sawDone()).toBe(true);
});

test('finish reasons are read per choice', () => {
  const both =
    event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }) +
    event({ choices: [{ index: 1, delta: {}, finish_reason: 'length' }] });
  expect([...relayed(both, 7, false).meter.finishReasons()]).toEqual([
    [0, 'stop'],
    [1, 'length'],
  ]);
});

test('usage that cannot be parsed is reported as unreadable, not as missing', () => {
  expect(lastUsage(Buffer.from('{"usage": {"prompt_tokens": 1,,}}'))).toEqual({ unreadable: true });
  expect(lastUsage(Buffer.from('{"usage": null}'))).toBeUndefined();
});

test('a report as long as a book is none', () => {
  const report = (length: number) => lastUsage(Buffer.from(`{"usage":{"prompt_tokens":1,"x":"${'x'.repeat(length)}"}}`));
  expect(report(10_000)).toMatchObject({ prompt_tokens: 1 });
  expect(report(20_000)).toEqual({ unreadable: true });
});

test('a usage is read whatever else stands in it', () => {
  const body = Buffer.from(
    '{"x":"é \\"usage\\":{}","usage":{"note":"naïve } \\" 漢字 {","prompt_tokens":3,"prix €":{"completion_tokens":9}}}',
  );
  expect(lastUsage(body)).toMatchObject({ prompt_tokens: 3 });
});

test('the last finish reason is the last one that is a word, as a pattern would find it', () => {
  const blanks = fc.string({ unit: fc.constantFrom(' ', '\n', '\t', '\r'), maxLength: 3 });
  const value = fc.oneof(
    fc.constantFrom('null', '"stop"', '"length"', '"stops"', '"sto"', '""', '"a b"', '"tool_calls"', '7', '{', '"été"', '"unended'),
    fc.integer({ min: 38, max: 43 }).map((length) => `"${'w'.repeat(length)}"`),
  );
  const piece = fc
    .tuple(blanks, fc.constantFrom(':', '', ','), blanks, value)
    .map(([a, colon, b, word]) => `"finish_reason"${a}${colon}${b}${word}`);
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.constantFrom('"finish_reason', '},{', 'reason"')), { maxLength: 5 }), (pieces) => {
      const bytes = Buffer.from(pieces.join(''));
      const found = [...bytes.toString('latin1').matchAll(/"finish_reason"(?=\s*:\s*"(\w{1,40})")/g)].at(-1)?.[1] ?? null;
      expect(lastFinishReason(bytes)).toBe(found);
    }),
    { numRuns: 3_000 },
  );
});

test('a key followed by nothing but spaces is left after a look, not walked to the end', () => {
  expect(lastFinishReason(Buffer.from(`"finish_reason":"stop","finish_reason"${' '.repeat(40)}:"length"`))).toBe('stop');
});
