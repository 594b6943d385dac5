import { expect, test } from 'vitest';
import { createRates } from '../../src/domain/pace.js';

const at = (start = 0) => {
  let now = start;
  const pass = (ms: number): void => {
    now += ms;
  };
  return { now: () => now, pass };
};

test('a minute’s worth may come at once, and then the pace counts', () => {
  const clock = at();
  const rates = createRates(clock.now);
  for (let i = 0; i < 60; i++) expect(rates.take('a', 60).ok).toBe(true);
  expect(rates.take('a', 60)).toMatchObject({ ok: false, remaining: 0, waitMs: 1_000 });
  clock.pass(999);
  expect(rates.take('a', 60).ok).toBe(false);
  clock.pass(1);
  expect(rates.take('a', 60).ok).toBe(true);
  clock.pass(3_600_000);
  expect(rates.take('a', 60).remaining).toBe(59);
});

test('asking too often is not punished: what was refused costs nothing', () => {
  const clock = at();
  const rates = createRates(clock.now);
  rates.take('a', 1);
  for (let i = 0; i < 100; i++) rates.take('a', 1);
  clock.pass(60_000);
  expect(rates.take('a', 1).ok).toBe(true);
});

test('each has a bucket of their own', () => {
  const rates = createRates(at().now);
  expect(rates.take('a', 1).ok).toBe(true);
  expect(rates.take('a', 1).ok).toBe(false);
  expect(rates.take('b', 1).ok).toBe(true);
});

test('a clock that goes back gives nothing away and takes nothing', () => {
  const clock = at(1_000_000);
  const rates = createRates(clock.now);
  rates.take('a', 2);
  clock.pass(-500_000);
  expect(rates.take('a', 2)).toMatchObject({ ok: true, remaining: 0 });
  expect(rates.take('a', 2).ok).toBe(false);
});

test('it remembers only so many, and forgets whom it saw longest ago', () => {
  const rates = createRates(at().now, 3);
  for (const one of ['a', 'b', 'c', 'a', 'd']) rates.take(one, 2);
  expect(rates.take('a', 2).ok, 'seen again, so still known').toBe(false);
  expect(rates.take('b', 2).remaining, 'forgotten').toBe(1);
});
