import { expect, test } from 'vitest';
import { rateHeaders } from '../../src/api/rates.js';
import { createRates } from '../../src/domain/pace.js';

const at = (start = 0) => {
  let now = start;
  const pass = (ms: number): void => {
    now += ms;
  };
  return { now: () => now, pass };
};

test('the headers are whole numbers, and seconds', () => {
  const clock = at();
  const rates = createRates(clock.now);
  rates.take('a', 7);
  clock.pass(1_234);
  expect(rateHeaders(rates.take('a', 7))).toEqual({ 'ratelimit-limit': '7', 'ratelimit-remaining': '5', 'ratelimit-reset': '16' });
});
