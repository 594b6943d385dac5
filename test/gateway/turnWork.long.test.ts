import { describe, expect, test } from 'vitest';
import { parseBody } from '../../src/gateway/parse.js';
import { parseRequest, placesOf, upstreamBody } from '../../src/gateway/request.js';

// What one body costs the event loop: everything that is done with it in one turn, in time of the processor, which no other
// process can make longer. The least of several runs, because threads of this process count as well.

const MS_MAX = 50;
/** The most there may be by default, and the most that is read on the event loop itself. */
const [WHOLE, INLINE] = [20_000_000, 256 * 1024];

const HEAD = '"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]';
const many = (piece: (i: number) => string, length: number): string => {
  const pieces: string[] = [];
  for (let [i, sum] = [0, 0]; sum < length; i++) sum += pieces[pieces.push(piece(i)) - 1]?.length ?? 1;
  return pieces.join('');
};
const WORST: readonly (readonly [name: string, rest: (length: number) => string])[] = [
  ['one text', (length) => `,"x":"${'a'.repeat(length)}"`],
  ['Han characters', (length) => `,"x":"${'漢'.repeat(length / 3)}"`],
  ['escaped quotes', (length) => `,"x":"${'\\"'.repeat(length / 2)}"`],
  ['escaped characters', (length) => `,"x":"${'\\u6f22'.repeat(length / 6)}"`],
  ['backslashes', (length) => `,"x":"${'\\\\'.repeat(length / 2)}"`],
  ['numbers', (length) => `,"x":[${'1,'.repeat(length / 2)}1]`],
  ['short texts', (length) => `,"x":["${'","'.repeat(length / 3)}"]`],
  ['empty lists', (length) => `,"x":[${'[],'.repeat(length / 3)}1]`],
  ['spaces', (length) => ' '.repeat(length)],
  ['keys', (length) => many((i) => `,"k${i}":0`, length)],
  ['wishes', (length) => `,"stream_options":{${'"include_usage":0,'.repeat(length / 18)}"y":0}`],
  ['messages', (length) => `,"x":[${'{"role":"user","content":"x"},'.repeat(length / 30)}1]`],
];
const bodyOf = (rest: (length: number) => string, bytes: number): Buffer => Buffer.from(`{${HEAD}${rest(bytes - 300)}}`);

function leastMs(act: () => unknown): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 6; i++) {
    const before = process.cpuUsage();
    act();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1_000);
  }
  return least;
}

const CHANGE = { model: 'the name over there', askUsage: true };

describe.each(WORST)('the worst body of %s', (_name, rest) => {
  test('small enough to be read on the loop, it is read and changed well within a turn', () => {
    const bytes = bodyOf(rest, INLINE - 100);
    expect(bytes.length).toBeLessThanOrEqual(INLINE);
    expect(leastMs(() => [parseRequest('chat', bytes, 64), upstreamBody(bytes, CHANGE)])).toBeLessThan(MS_MAX);
  });

  test('as large as it may be, joining it and changing it where the thread has found are within a turn', () => {
    const bytes = bodyOf(rest, WHOLE);
    const places = placesOf(bytes);
    const parts = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) => bytes.subarray(i * 65_536, (i + 1) * 65_536));
    expect(leastMs(() => Buffer.concat(parts))).toBeLessThan(MS_MAX);
    expect(leastMs(() => upstreamBody(bytes, CHANGE, places))).toBeLessThan(MS_MAX);
  });
});

test('what was found in the thread is what would have been found here, and the body is not searched again', async () => {
  const bytes = bodyOf((length) => `,"stream_options":{"other":1},"x":"${'a'.repeat(length)}"`, INLINE * 2);
  const parsed = await parseBody('chat', bytes, 64);
  expect(parsed).toMatchObject({ kind: 'asked', places: placesOf(bytes) });
  const places = placesOf(bytes);
  expect(upstreamBody(bytes, CHANGE, places)).toEqual(upstreamBody(bytes, CHANGE));
  const blank = Buffer.alloc(bytes.length, ' ');
  expect(upstreamBody(blank, CHANGE, places).toString().replaceAll(' ', '')).toBe('"thenameoverthere""include_usage":true,');
});
