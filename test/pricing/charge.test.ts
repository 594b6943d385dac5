import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_USAGE, type Usage } from '../../src/domain/charge.js';
import { MICRO_MAX } from '../../src/domain/credits.js';
import { charge, recompute } from '../../src/pricing/charge.js';
import type { PriceEntry } from '../../src/pricing/entry.js';
import { type Fraction, fraction, ONE, parseFraction } from '../../src/pricing/fraction.js';
import { bookWith, credits, rates, ratio, usage, x } from './books.js';

const K4 = (value: string) => rates({ input: ratio(value), output: x('4'), cached_input: x('0.5') });
const entryOf = (rule: ReturnType<typeof rates>): PriceEntry => {
  const entry = bookWith({ models: [{ pattern: 'm', rule }] }).find('m');
  if (!entry) throw new Error('no entry');
  return entry;
};
const cost = (entry: PriceEntry, used: Partial<Usage>, times: Fraction = ONE): number => charge({ entry, usage: usage(used), times }).cost;

test('a ratio means exactly what it means in one-api and new-api', () => {
  expect(cost(entryOf(K4('1.25')), { input: 1000, cached_input: 200, output: 500 })).toBe(725_000);
});

// new-api rounds every request to a whole quota (200 µcr here); these are its own vectors, before its rounding.
test.each([
  ['0.525 quota', ONE, 3, 1, 105],
  ['0.075 quota', ONE, 1, 0, 15],
  ['15.66 quota', fraction(9n, 10n), 100, 33, 3132],
] as const)('ratio 0.075 with 4x output: %s, exactly', (_, group, input, output, micro) => {
  expect(cost(entryOf(K4('0.075')), { input, output }, group)).toBe(micro);
});

test('the bill is rounded once, up, however many parts it has', () => {
  const third = entryOf(rates({ input: credits('1', 3_000_000), output: credits('1', 3_000_000) }));
  expect(cost(third, { input: 1, output: 1 })).toBe(1); // 2/3 rounds to 1; two roundings would make 2
  expect(cost(third, { input: 1, output: 2 })).toBe(1);
  expect(cost(third, { input: 2, output: 2 })).toBe(2);
});

test('an explicit price of any number of decimals is exact', () => {
  const odd = entryOf(rates({ input: credits('0.000000000001', 1_000_000), output: credits('99999.123456789', 1_000_000) }));
  expect(cost(odd, { input: 1 })).toBe(1); // never 0 when something with a price was used
  expect(cost(odd, { output: 1_000_000 })).toBe(99_999_123_457); // …,456.789 rounded up
});

test('a million requests of one token at a tiny ratio each cost at least one micro-credit', () => {
  const tiny = entryOf(rates({ input: ratio('0.0001'), output: x('1') }));
  expect(cost(tiny, { input: 1 })).toBe(1);
});

test('zero: nothing used costs nothing, a free model costs nothing, a fee per request is due anyway', () => {
  expect(charge({ entry: entryOf(K4('1')), usage: NO_USAGE, times: ONE })).toEqual({ cost: 0, breakdown: { lines: [], times: '1' } });
  const free = bookWith({ models: [{ pattern: 'f', rule: { kind: 'free' } }] }).find('f') as PriceEntry;
  expect(cost(free, { input: 1e6, output: 1e6 })).toBe(0);
  const flat = entryOf(rates({ request: credits('10', 1) }));
  expect(cost(flat, {})).toBe(10_000_000);
  expect(cost(flat, { input: 500, output: 500 })).toBe(10_000_000);
});

test('cached input, cache writes and audio are inside input; reasoning is inside output', () => {
  const entry = entryOf(
    rates({
      input: credits('100', 1_000_000),
      cached_input: credits('10', 1_000_000),
      cache_write_5m: credits('125', 1_000_000),
      cache_write_1h: credits('200', 1_000_000),
      audio_input: credits('1000', 1_000_000),
      output: credits('500', 1_000_000),
      reasoning: credits('600', 1_000_000),
      audio_output: credits('2000', 1_000_000),
    }),
  );
  const used = {
    input: 1000,
    cached_input: 100,
    cache_write_5m: 50,
    cache_write_1h: 20,
    audio_input: 30,
    output: 300,
    reasoning: 100,
    audio_output: 40,
  };
  const { cost: micro, breakdown } = charge({ entry, usage: usage(used), times: ONE });
  expect(micro).toBe(800 * 100 + 100 * 10 + 50 * 125 + 20 * 200 + 30 * 1000 + 160 * 500 + 100 * 600 + 40 * 2000);
  const quantity = new Map(breakdown.lines.map((line) => [line.meter, line.quantity]));
  expect([quantity.get('input'), quantity.get('output')]).toEqual([800, 160]);
});

test('parts that exceed their whole are cut to it, and never make it cheaper than the cheapest honest report', () => {
  const entry = entryOf(rates({ input: credits('100', 1_000_000), cached_input: credits('10', 1_000_000), output: x('5') }));
  expect(cost(entry, { input: 10, cached_input: 1000 })).toBe(100);
  expect(cost(entry, { input: 10, cached_input: -5 })).toBe(1000);
  expect(cost(entry, { output: 10, reasoning: 1e300 })).toBe(5000);
});

test('parts without a price of their own cost what the whole costs', () => {
  const entry = entryOf(rates({ input: credits('100', 1_000_000), output: credits('500', 1_000_000) }));
  expect(cost(entry, { input: 10, cached_input: 5, cache_write_5m: 2, cache_write_1h: 1, audio_input: 1 })).toBe(1000);
  expect(cost(entry, { output: 10, reasoning: 5, audio_output: 2 })).toBe(5000);
});

test('cache writes priced by ratio follow new-api: 1.25 for five minutes, 1.6 times that for an hour', () => {
  const entry = entryOf(rates({ input: ratio('1'), output: x('4') }));
  expect(cost(entry, { input: 100, cache_write_5m: 100 })).toBe(25_000);
  expect(cost(entry, { input: 100, cache_write_1h: 100 })).toBe(40_000);
});

test.each([
  ['gt', 199_999, 1],
  ['gt', 200_000, 1],
  ['gt', 200_001, 2],
  ['gte', 199_999, 1],
  ['gte', 200_000, 2],
  ['gte', 200_001, 2],
] as const)('a tier with %s at 200,000: a request of %i tokens costs %i times the base, all of it', (boundary, input, factor) => {
  const entry = entryOf({
    ...rates({ input: credits('100', 1_000_000), output: x('5'), cached_input: x('0.1') }),
    tiers: [{ tokens: 200_000, boundary, rates: { input: credits('200', 1_000_000) } }],
  });
  expect(cost(entry, { input, cached_input: 1000, output: 100 })).toBe(factor * ((input - 1000) * 100 + 1000 * 10 + 100 * 500));
});

test('the highest tier a request reaches prices all of it', () => {
  const tier = (tokens: number, price: string) => ({ tokens, boundary: 'gt' as const, rates: { input: credits(price, 1_000_000) } });
  const entry = entryOf({ ...rates({ input: credits('1', 1_000_000), output: x('1') }), tiers: [tier(100, '2'), tier(1000, '3')] });
  expect([cost(entry, { input: 100 }), cost(entry, { input: 101 }), cost(entry, { input: 1001 })]).toEqual([100, 202, 3003]);
});

test('time rounds up to its step', () => {
  const entry = entryOf({ ...rates({ second: credits('6', 60) }), stepSeconds: 30 });
  expect(cost(entry, { seconds: 0 })).toBe(0);
  expect(cost(entry, { seconds: 0.01 })).toBe(3_000_000);
  expect(cost(entry, { seconds: 30 })).toBe(3_000_000);
  expect(cost(entry, { seconds: 30.0001 })).toBe(6_000_000);
});

test('custom meters are charged by name, unknown ones are not, and none can pretend to be a built-in one', () => {
  const entry = entryOf(rates({ input: credits('1', 1), custom: [{ meter: 'web_search', rate: credits('1', 1) }] }));
  expect(cost(entry, { meters: { web_search: 3, other: 9 } })).toBe(3_000_000);
  expect(cost(entry, { meters: { input: 9, ['__proto__']: 4 } })).toBe(0);
});

test('a charge that no command could carry is cut to the largest, and still recomputes', () => {
  const entry = entryOf(rates({ input: credits('100000000', 1), output: x('1') }));
  const { cost: micro, breakdown } = charge({ entry, usage: usage({ input: 1e15 }), times: ONE });
  expect(micro).toBe(MICRO_MAX);
  expect(recompute(breakdown)).toBe(MICRO_MAX);
});

test('a row that is not a breakdown is not recomputed', () => {
  for (const line of [
    { quantity: -1, rate: '1' },
    { quantity: 1.5, rate: '1' },
    { quantity: 1, rate: '1/0' },
    { quantity: 1, rate: 'NaN' },
  ]) {
    expect(() => recompute({ lines: [{ meter: 'input', ...line }], times: '1' })).toThrow(RangeError);
  }
  expect(() => recompute({ lines: [], times: '-1' })).toThrow(RangeError);
});

const decimal = fc
  .tuple(fc.nat(99_999), fc.nat(999_999))
  .map(([a, b]) => `${a}.${String(b).padStart(6, '0')}`)
  .filter((text) => Number(text) > 0);
const rate = fc.oneof(
  decimal.map((amount) => credits(amount, 1_000_000)),
  decimal.map((amount) => credits(amount, 3)),
  decimal.map(ratio),
);
const rule = fc
  .record(
    { input: rate, output: rate, cached_input: rate, cache_write_5m: rate, reasoning: rate, request: rate, second: rate },
    { requiredKeys: ['input', 'output'] },
  )
  .map((found) => rates(found));
const number = fc.oneof(
  fc.nat(5_000_000),
  fc.nat(20),
  fc.constantFrom(0, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_VALUE, -0, 2 ** 53, 0.5),
);
const anyUsage = fc.record({
  input: number,
  cached_input: number,
  cache_write_5m: number,
  cache_write_1h: number,
  output: number,
  reasoning: number,
  audio_input: number,
  audio_output: number,
  images: number,
  seconds: number,
  characters: number,
});
const times = fc
  .tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 100_000 }))
  .map(([n, d]) => fraction(BigInt(n), BigInt(d)));

test('whatever is reported, a charge is a whole number from 0 on, and the row alone proves it', () => {
  fc.assert(
    fc.property(rule, anyUsage, times, (found, used, by) => {
      const { cost: micro, breakdown } = charge({ entry: entryOf(found), usage: used, times: by });
      expect(Number.isSafeInteger(micro) && micro >= 0 && !Object.is(micro, -0)).toBe(true);
      expect(recompute(JSON.parse(JSON.stringify(breakdown)))).toBe(micro);
      expect(breakdown.lines.every((line) => line.quantity > 0)).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test('the charge is the exact sum rounded up, by an oracle that only knows fractions', () => {
  fc.assert(
    fc.property(rule, anyUsage, times, (found, used, by) => {
      const { cost: micro, breakdown } = charge({ entry: entryOf(found), usage: used, times: by });
      let [n, d] = [0n, 1n];
      for (const line of breakdown.lines) {
        const each = parseFraction(line.rate) as Fraction;
        [n, d] = [n * each.d + BigInt(line.quantity) * each.n * d, d * each.d];
      }
      [n, d] = [n * by.n, d * by.d];
      const short = BigInt(micro) * d - n;
      if (micro < MICRO_MAX) expect(short >= 0n && short < d).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test('more tokens never cost less', () => {
  fc.assert(
    fc.property(rule, anyUsage, fc.constantFrom('input', 'output', 'seconds' as const), fc.nat(1000), (found, used, meter, more) => {
      const entry = entryOf(found);
      const from = Number.isFinite(used[meter]) && used[meter] > 0 ? used[meter] : 0;
      expect(cost(entry, { ...used, [meter]: from + more })).toBeGreaterThanOrEqual(cost(entry, { ...used, [meter]: from }));
    }),
    { numRuns: 500 },
  );
});

test('taken apart and summed, the quantities are the totals: nothing is counted twice', () => {
  fc.assert(
    fc.property(anyUsage, (used) => {
      const { breakdown } = charge({ entry: entryOf(rates({ input: ratio('1'), output: x('4') })), usage: used, times: ONE });
      const sum = (meters: readonly string[]) =>
        breakdown.lines.filter(({ meter }) => meters.includes(meter)).reduce((all, line) => all + line.quantity, 0);
      const whole = (value: number) => (value > 0 ? Math.min(Math.ceil(value), 1e15) : 0);
      expect(sum(['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'audio_input'])).toBe(whole(used.input));
      expect(sum(['output', 'reasoning', 'audio_output'])).toBe(whole(used.output));
    }),
  );
});
