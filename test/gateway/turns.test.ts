import { expect, test } from 'vitest';
import { createTurns } from '../../src/gateway/turns.js';

function crowd(options: { perTurn?: number; waitMaxMs?: number; turned?: () => boolean } = {}) {
  const seen = { started: [] as number[], refused: [] as number[], gone: new Set<number>(), nowMs: 0 };
  const turns = createTurns<number>({
    start: (one) => void seen.started.push(one),
    refuse: (one) => void seen.refused.push(one),
    isGone: (one) => seen.gone.has(one),
    nowMs: () => seen.nowMs,
    perTurn: 3,
    waitMaxMs: 1_000,
    ...options,
  });
  const come = (from: number, to: number) => {
    for (let one = from; one <= to; one++) turns.take(one);
  };
  return { turns, seen, come };
}

const nextTurn = () => new Promise((go) => setImmediate(go));

test('who comes alone starts at once', () => {
  const { seen, come } = crowd();
  come(1, 2);
  expect(seen.started).toEqual([1, 2]);
});

test('of many that come at once only so many start in a turn, in the order in which they came', async () => {
  const { turns, seen, come } = crowd();
  come(1, 8);
  expect(seen.started).toEqual([1, 2, 3]);
  expect(turns.waiting()).toBe(5);
  await nextTurn();
  expect(seen.started).toEqual([1, 2, 3, 4, 5, 6]);
  come(9, 9);
  await nextTurn();
  expect(seen.started).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(turns.waiting()).toBe(0);
});

test('between two turns other work is done, however many wait', async () => {
  const { turns, come } = crowd();
  come(1, 100);
  let others = 0;
  while (turns.waiting() > 0) {
    await nextTurn();
    others += 1;
  }
  expect(others).toBeGreaterThan(20);
});

test('when the first in the queue has waited for too long, newcomers are refused at once and those who wait are served', async () => {
  const { turns, seen, come } = crowd();
  come(1, 5);
  seen.nowMs = 1_001;
  come(6, 7);
  expect(seen.refused).toEqual([6, 7]);
  await nextTurn();
  expect(seen.started).toEqual([1, 2, 3, 4, 5]);
  come(8, 8);
  expect(turns.waiting()).toBe(0);
  expect(seen.started.at(-1)).toBe(8);
});

test('nobody is served who has left while waiting', async () => {
  const { seen, come } = crowd();
  come(1, 6);
  seen.gone.add(4).add(5);
  await nextTurn();
  expect(seen.started).toEqual([1, 2, 3, 6]);
});

test('a queue that never empties forgets what is behind it', async () => {
  const { turns, seen, come } = crowd({ perTurn: 500 });
  come(1, 4_000);
  for (let i = 0; i < 12; i++) await nextTurn();
  expect(turns.waiting()).toBe(0);
  expect(seen.started).toEqual(Array.from({ length: 4_000 }, (_, i) => i + 1));
});

test('whoever has waited elsewhere for too long is refused, as if they had waited here', async () => {
  const { turns, seen, come } = crowd();
  seen.nowMs = 5_000;
  come(1, 4);
  turns.take(5, 3_999);
  turns.take(6, 4_000);
  expect(seen.refused).toEqual([5]);
  await nextTurn();
  expect(seen.started).toEqual([1, 2, 3, 4, 6]);
});

test('whoever lets others in from elsewhere has another turn as long as it asks for one', async () => {
  let left = 3;
  const { come } = crowd({ turned: () => --left > 0 });
  come(1, 4);
  await nextTurn();
  expect(left).toBe(2);
  await nextTurn();
  await nextTurn();
  await nextTurn();
  expect(left).toBe(0);
});
