import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatCredits, formatScaled } from '../../src/domain/credits.js';

test.each([
  [0, '0'],
  [1, '0.000001'],
  [10, '0.00001'],
  [725_000, '0.725'],
  [1_000_000, '1'],
  [1_000_001, '1.000001'],
  [100_100_000, '100.1'],
  [-1_500_000, '-1.5'],
  [Number.MAX_SAFE_INTEGER, '9007199254.740991'],
])('%d micro-credits read %s', (micro, text) => {
  expect(formatCredits(micro)).toBe(text);
});

test('however many there are, they read as the exact decimal', () => {
  const any = fc.oneof(fc.integer({ min: 0, max: 2_000_000 }), fc.maxSafeNat(), fc.maxSafeInteger());
  fc.assert(
    fc.property(any, (micro) => {
      expect(formatCredits(micro)).toBe(formatScaled(BigInt(micro), 6));
    }),
    { numRuns: 5_000 },
  );
});
