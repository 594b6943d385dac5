import fc from 'fast-check';
import { expect, test } from 'vitest';
import { finderOf, lastFinderOf } from '../../src/gateway/search.js';

/** Few letters, so that near misses are frequent. */
const text = fc.string({ unit: fc.constantFrom('"', 'e', 'r', 'o', 'd', 'a', ':'), maxLength: 80 });

test.each(['"error"', 'data:', '"choices"', 'aa'])('%s is found where the runtime finds it, from any place on', (pattern) => {
  const find = finderOf(pattern);
  fc.assert(
    fc.property(text, text, fc.nat(100), fc.boolean(), (before, after, from, there) => {
      const bytes = Buffer.from(before + (there ? pattern : '') + after, 'latin1');
      expect(find(bytes, from)).toBe(bytes.indexOf(pattern, from, 'latin1'));
    }),
    { numRuns: 2_000 },
  );
});

test('a large buffer is searched all the same', () => {
  const find = finderOf('"error"');
  expect(find(Buffer.concat([Buffer.alloc(10_000, 'x'), Buffer.from('"error"')]), 0)).toBe(10_000);
  expect(find(Buffer.alloc(10_000, '"'), 0)).toBe(-1);
});

test.each(['"error"', 'aa', '"usage"'])('the last %s is found where the runtime finds it, from any place back', (pattern) => {
  const find = lastFinderOf(pattern);
  fc.assert(
    fc.property(text, text, fc.nat(100), fc.boolean(), (before, after, from, there) => {
      const bytes = Buffer.from(before + (there ? pattern : '') + after, 'latin1');
      expect(find(bytes, from)).toBe(bytes.lastIndexOf(pattern, from, 'latin1'));
      expect(find(bytes, -1)).toBe(-1);
    }),
    { numRuns: 2_000 },
  );
});

test('the last one is found far from the end, too', () => {
  const find = lastFinderOf('"usage"');
  expect(find(Buffer.concat([Buffer.from('"usage"'), Buffer.alloc(10_000, '"')]), 20_000)).toBe(0);
  expect(find(Buffer.alloc(10_000, '"'), 20_000)).toBe(-1);
});
