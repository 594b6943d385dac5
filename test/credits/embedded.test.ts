import { expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import { newRequestId } from '../../src/domain/ids.js';
import { createSubject } from './builders.js';
import { describeCreditStore } from './contract.js';

/** A clock that only moves when it is told to. */
function handClock() {
  let now = 1_800_000_000_000;
  return {
    nowMs: () => now,
    wait: async (ms: number) => {
      now += ms;
    },
  };
}

describeCreditStore('the embedded store', async () => {
  const clock = handClock();
  const store = createEmbeddedStore({ clock });
  return { store, wait: clock.wait, nowMs: clock.nowMs, close: () => store.close() };
});

test('no span of sixty seconds ever holds more requests than the limit, wherever it begins', async () => {
  const clock = handClock();
  const org = await createSubject(createEmbeddedStore({ clock }), { avail: 1_000_000, token: { requestsPerMinute: 10 } });
  const admitted: number[] = [];
  for (let i = 0; i < 4_000; i++) {
    await clock.wait((i * 7_919) % 311);
    if ((await org.hold(1)).kind === 'held') admitted.push(clock.nowMs());
  }
  expect(admitted.length).toBeGreaterThan(80);
  for (const [i, at] of admitted.entries()) expect((admitted[i + 10] ?? Number.POSITIVE_INFINITY) - at).toBeGreaterThanOrEqual(60_000);
});

test('whoever waits as long as it was told is admitted', async () => {
  const clock = handClock();
  const org = await createSubject(createEmbeddedStore({ clock }), {
    avail: 1_000_000,
    token: { requestsPerMinute: 5, tokensPerMinute: 60 },
  });
  for (let round = 0; round < 20; round++) {
    await clock.wait(1_733);
    const answer = await org.hold(1, { tokens: 17 });
    if (answer.kind !== 'rate_limited') continue;
    await clock.wait(answer.retryAfterMs - 1);
    expect((await org.hold(1, { tokens: 17 })).kind).toBe('rate_limited');
    await clock.wait(1);
    expect((await org.hold(1, { tokens: 17 })).kind).toBe('held');
  }
});

test('memory is bounded: new requests are told it is full before running ones are, and trimming makes room', async () => {
  const clock = handClock();
  const store = createEmbeddedStore({ clock, streamBytesMax: 20_000 });
  const org = await createSubject(store, { avail: 1_000_000 });
  const running = newRequestId();
  await org.hold(1, { requestId: running });
  while ((await org.hold(1)).kind === 'held') await org.settle(newRequestId(), 1);
  expect(await org.hold(1)).toEqual({ kind: 'unavailable', reason: 'full', maybeDone: false });
  expect(await org.settle(running, 1)).toMatchObject({ kind: 'settled' });
  for (let i = 0; i < 100; i++) await org.settle(newRequestId(), 1);
  expect(await org.settle(newRequestId(), 1)).toEqual({ kind: 'unavailable', reason: 'full', maybeDone: false });
  const last = (await store.entries(org.shard, '', 10_000)).at(-1)?.cursor ?? '';
  await clock.wait(10);
  await store.trim(org.shard, last, 0);
  expect(await org.hold(1)).toMatchObject({ kind: 'held' });
});
