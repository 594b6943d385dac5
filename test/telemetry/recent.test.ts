import { expect, test } from 'vitest';
import { createRecent, firstByteMs, mergeRecent, RECENT_MS, successOf } from '../../src/telemetry/recent.js';

test('attempts are told apart by what they say about the upstream', () => {
  const recent = createRecent(() => 1_000_000);
  recent.ended('a', 'answered', 200);
  recent.ended('a', 'status_4xx', 429);
  recent.ended('a', 'status_4xx', 400);
  recent.ended('a', 'status_4xx', 401);
  recent.ended('a', 'status_5xx', 503);
  recent.ended('a', 'timeout_first_byte', 0);
  recent.ended('a', 'aborted', 200);
  const [one] = recent.read();
  expect(one?.ended).toEqual({ answered: 1, rejected: 1, denied: 1, rate_limited: 1, server_errors: 1, failed: 1, aborted: 1 });
  expect(one?.lastError).toEqual({ code: 'timeout_first_byte', atMs: 1_000_000 });
  expect(one && successOf(one)).toEqual({ tried: 5, good: 1 });
});

test('what is older than the window is forgotten, except when it last failed', () => {
  let nowMs = 0;
  const recent = createRecent(() => nowMs);
  recent.ended('a', 'status_5xx', 500);
  nowMs = RECENT_MS - 20_000;
  recent.ended('a', 'answered', 200);
  nowMs = RECENT_MS + 1_000;
  expect(recent.read()[0]).toMatchObject({ ended: { answered: 1, server_errors: 0 }, lastError: { code: 'status_500', atMs: 0 } });
  nowMs = 3 * RECENT_MS;
  expect(recent.read()[0]?.ended.answered).toBe(0);
});

test('memory stays the same however long it counts', () => {
  let nowMs = 0;
  const recent = createRecent(() => nowMs);
  for (; nowMs < 20 * RECENT_MS; nowMs += 1_000) recent.ended('a', 'answered', 200);
  expect(recent.read()[0]?.ended.answered).toBeLessThanOrEqual(RECENT_MS / 1_000);
});

test('times to the first byte are exact to a tenth, over several processes too', () => {
  const recents = [createRecent(), createRecent()];
  for (let ms = 1; ms <= 1_000; ms++) recents[ms % 2]?.firstByte('a', ms);
  const all = mergeRecent(
    'a',
    recents.flatMap((one) => one.read()),
  );
  for (const [part, ms] of [
    [0.5, 500],
    [0.95, 950],
  ] as const) {
    const said = firstByteMs(all, part) ?? 0;
    expect(said).toBeGreaterThanOrEqual(ms * 0.99);
    expect(said).toBeLessThanOrEqual(ms * 1.1 + 1);
  }
  expect(firstByteMs(mergeRecent('b', []), 0.5)).toBeNull();
});

test('the latest error of all processes is the one that is told', () => {
  const early = createRecent(() => 1_000);
  const late = createRecent(() => 2_000);
  early.ended('a', 'connect', 0);
  late.ended('a', 'status_5xx', 502);
  const parts = [...late.read(), ...early.read()];
  expect(mergeRecent('a', parts).lastError).toEqual({ code: 'status_502', atMs: 2_000 });
});
