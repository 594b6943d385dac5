import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MICRO_MAX } from '../../src/domain/credits.js';
import { charge } from '../../src/pricing/charge.js';
import type { PriceEntry } from '../../src/pricing/entry.js';
import { type Estimate, type EstimateFacts, estimate } from '../../src/pricing/estimate.js';
import { fraction, ONE } from '../../src/pricing/fraction.js';
import { bookWith, credits, rates, ratio, usage, x } from './books.js';

const entryOf = (rule: Parameters<typeof rates>[0], more: object = {}): PriceEntry => {
  const entry = bookWith({ models: [{ pattern: 'm', rule: { ...rates(rule), ...more } }] }).find('m');
  if (!entry) throw new Error('no entry');
  return entry;
};
const FACTS: EstimateFacts = { textBytes: 1000, messages: 1, images: 0, audios: 0, files: 0, maxOutput: 100, choices: 1 };
const MINI = entryOf({ input: ratio('0.075'), output: x('4') });

const ok = (answer: Estimate): Extract<Estimate, { kind: 'ok' }> => {
  if (answer.kind !== 'ok') throw new Error(answer.message);
  return answer;
};

test('normal takes half a token per byte, strict a whole one, both with overheads and the whole output', () => {
  const normal = ok(estimate({ entry: MINI, times: ONE, mode: 'normal', facts: FACTS }));
  expect(normal).toEqual({ kind: 'ok', inputTokens: 520, outputTokens: 100, amount: 520 * 15 + 100 * 60 });
  const strict = ok(estimate({ entry: MINI, times: ONE, mode: 'strict', facts: FACTS }));
  expect([strict.inputTokens, strict.outputTokens]).toEqual([1520, 100]);
  expect(strict.amount).toBe(1520 * 30 + 100 * 60); // the dearest input there can be: a cache write for an hour
});

test('without a stated maximum the model decides, times the number of choices', () => {
  const facts = { ...FACTS, maxOutput: null };
  expect(ok(estimate({ entry: MINI, times: ONE, mode: 'normal', facts })).outputTokens).toBe(4096);
  const known = entryOf({ input: ratio('1'), output: x('4') }, { holdOutput: 50, maxOutput: 1000 });
  expect(ok(estimate({ entry: known, times: ONE, mode: 'normal', facts: { ...facts, choices: 3 } })).outputTokens).toBe(150);
  expect(ok(estimate({ entry: known, times: ONE, mode: 'strict', facts })).outputTokens).toBe(1000);
  expect(ok(estimate({ entry: known, times: ONE, mode: 'normal', facts: { ...FACTS, maxOutput: 1e9 } })).outputTokens).toBe(1000);
  expect(ok(estimate({ entry: known, times: ONE, mode: 'strict', facts: { ...facts, noOutput: true } })).outputTokens).toBe(0);
});

test('parts without a bound are refused in strict and take the default in normal', () => {
  const facts = { ...FACTS, images: 2 };
  expect(estimate({ entry: MINI, times: ONE, mode: 'strict', facts })).toMatchObject({ kind: 'refused', code: 'part_not_bounded' });
  expect(ok(estimate({ entry: MINI, times: ONE, mode: 'normal', facts })).inputTokens).toBe(520 + 5000);
  expect(
    ok(estimate({ entry: MINI, times: ONE, mode: 'normal', facts, partBounds: { image: 10, audio: null, file: null } })).inputTokens,
  ).toBe(540);
  expect(
    estimate({ entry: MINI, times: ONE, mode: 'normal', facts: { ...FACTS, files: 1 }, partBounds: { image: 10, audio: null, file: null } })
      .kind,
  ).toBe('refused');
  const bounded = entryOf({ input: ratio('1'), output: x('4') }, { bounds: { image: 100 } });
  expect(ok(estimate({ entry: bounded, times: ONE, mode: 'strict', facts })).inputTokens).toBe(1520 + 200);
});

test('the long-context price counts as soon as the estimate reaches it, and in strict the dearest reachable one', () => {
  const tiers = [{ tokens: 500, boundary: 'gte' as const, rates: { input: credits('1', 1_000_000) } }];
  const cheaper = entryOf({ input: credits('100', 1_000_000), output: x('1') }, { tiers });
  expect(ok(estimate({ entry: cheaper, times: ONE, mode: 'normal', facts: FACTS })).amount).toBe(520 + 100);
  expect(ok(estimate({ entry: cheaper, times: ONE, mode: 'strict', facts: FACTS })).amount).toBe(1620 * 100);
});

test('the multiplier and the fee per request are in the estimate; a free model holds nothing', () => {
  const fee = entryOf({ request: credits('1', 1), input: ratio('0.075'), output: x('4') });
  expect(ok(estimate({ entry: fee, times: fraction(1n, 3n), mode: 'normal', facts: FACTS })).amount).toBe(
    Math.ceil((1_000_000 + 520 * 15 + 6000) / 3),
  );
  const free = bookWith({ models: [{ pattern: 'f', rule: { kind: 'free' } }] }).find('f') as PriceEntry;
  expect(ok(estimate({ entry: free, times: ONE, mode: 'strict', facts: FACTS })).amount).toBe(0);
});

test.each<[string, Partial<EstimateFacts>]>([
  ['negative maximum', { maxOutput: -1 }],
  ['maximum of 0', { maxOutput: 0 }],
  ['broken maximum', { maxOutput: 1.5 }],
  ['endless maximum', { maxOutput: Number.POSITIVE_INFINITY }],
  ['maximum beyond 2^53', { maxOutput: 2 ** 53 }],
  ['maximum that no balance holds', { maxOutput: Number.MAX_SAFE_INTEGER }],
  ['maximum as text', { maxOutput: '100' as unknown as number }],
  ['maximum as true', { maxOutput: true as unknown as number }],
  ['no choice', { choices: 0 }],
  ['negative choices', { choices: -5 }],
  ['too many choices', { choices: 1e6 }],
  ['NaN bytes', { textBytes: Number.NaN }],
  ['negative bytes', { textBytes: -1 }],
  ['negative images', { images: -1 }],
])('%s: refused', (_, wrong) => {
  expect(estimate({ entry: MINI, times: ONE, mode: 'normal', facts: { ...FACTS, ...wrong } }).kind).toBe('refused');
});

test('whatever the numbers, the answer is a refusal or a safe amount, and nothing is thrown', () => {
  const wild = fc.oneof(
    fc.nat(1e6),
    fc.double(),
    fc.constantFrom(-1, 2 ** 53, Number.NaN, null, '1', undefined, 1e15),
  ) as fc.Arbitrary<number>;
  const facts = fc.record({ textBytes: wild, messages: wild, images: wild, audios: wild, files: wild, maxOutput: wild, choices: wild });
  fc.assert(
    fc.property(facts, fc.constantFrom('normal', 'strict' as const), (found, mode) => {
      const answer = estimate({ entry: MINI, times: ONE, mode, facts: found });
      if (answer.kind === 'ok') expect(Number.isSafeInteger(answer.amount) && answer.amount > 0 && answer.amount <= MICRO_MAX).toBe(true);
      else expect(answer.message.length).toBeGreaterThan(10);
    }),
    { numRuns: 1000 },
  );
});

test('strict is a true bound: no usage within it costs more than was held', () => {
  const price = fc
    .tuple(fc.integer({ min: 1, max: 5000 }), fc.constantFrom(1000, 1_000_000))
    .map(([amount, per]) => credits(String(amount), per));
  const rule = fc.record(
    { input: price, output: price, cached_input: price, cache_write_5m: price, cache_write_1h: price, reasoning: price, request: price },
    { requiredKeys: ['input', 'output'] },
  );
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(
      rule,
      price,
      fc.nat(5000),
      fc.nat(5000),
      fc.array(share, { minLength: 6, maxLength: 6 }),
      (found, dear, boundary, bytes, [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0]) => {
        const entry = entryOf(found, { tiers: [{ tokens: boundary + 1, boundary: 'gt', rates: { input: dear } }] });
        const held = ok(estimate({ entry, times: fraction(4n, 5n), mode: 'strict', facts: { ...FACTS, textBytes: bytes } }));
        const [input, output] = [Math.floor(held.inputTokens * a), Math.floor(held.outputTokens * b)];
        const used = usage({
          input,
          output,
          cached_input: Math.floor(input * c),
          cache_write_5m: Math.floor(input * d),
          cache_write_1h: Math.floor(input * e),
          reasoning: Math.floor(output * f),
        });
        expect(charge({ entry, usage: used, times: fraction(4n, 5n) }).cost).toBeLessThanOrEqual(held.amount);
      },
    ),
    { numRuns: 500 },
  );
});
