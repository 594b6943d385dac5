import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countEvents, Kept } from '../../src/gateway/kept.js';

const event = (chars: number): Buffer => Buffer.from(`data: ${'x'.repeat(Math.max(0, chars - 8))}\n\n`);
const sizes = fc.array(fc.oneof(fc.integer({ min: 8, max: 400 }), fc.integer({ min: 3_000, max: 6_000 })), { maxLength: 120 });

test('what was kept is what was given, in order, however it came', () => {
  fc.assert(
    fc.property(sizes, (all) => {
      const kept = new Kept();
      const given = all.map(event);
      for (const bytes of given) kept.add(bytes);
      expect(Buffer.concat(kept.pieces()).equals(Buffer.concat(given))).toBe(true);
      expect(kept.bytes).toBe(Buffer.concat(given).length);
    }),
  );
});

test('events are counted once each, whenever somebody asks', () => {
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 9 }), (all, every) => {
      const kept = new Kept();
      all.forEach((size, i) => {
        kept.add(event(size));
        if (i % every === 0) expect(kept.eventsSoFar()).toBe(i + 1);
      });
      expect([kept.eventsSoFar(), kept.eventsSoFar()]).toEqual([all.length, all.length]);
    }),
  );
});

const memoryOf = (kept: Kept): readonly ArrayBufferLike[] => [...new Set(kept.pieces().map(({ buffer }) => buffer))];
const taken = (kept: Kept): number => memoryOf(kept).reduce((sum, { byteLength }) => sum + byteLength, 0);
const keeping = (all: readonly number[]): Kept => {
  const kept = new Kept();
  for (const size of all) kept.add(Buffer.from(new Uint8Array(event(size))));
  return kept;
};

test('small pieces take about as much memory as they have bytes, and nothing of theirs stays beside it', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 8, max: 400 }), { maxLength: 400 }), (all) => {
      const kept = keeping(all);
      const slabs = memoryOf(kept).length;
      // Of each slab that is full, less than the next piece is empty; of the last one, at most as much as all before it hold.
      expect(taken(kept)).toBeLessThanOrEqual(2 * kept.bytes + 400 * slabs + 1_024);
      expect(slabs).toBeLessThanOrEqual(2 + 2 * Math.log2(1 + kept.bytes / 1_024) + kept.bytes / 32_768);
    }),
  );
});

test('however large and small pieces take turns, they take at most three times their bytes', () => {
  fc.assert(
    fc.property(sizes, (all) => {
      const large = all.filter((size) => size > 4_096).length;
      const kept = keeping(all);
      expect(taken(kept)).toBeLessThanOrEqual(3 * kept.bytes + 1_024 * (1 + large));
    }),
  );
});

test('a piece that is changed after it was given does not change what was kept', () => {
  const kept = new Kept();
  const bytes = event(100);
  kept.add(bytes);
  bytes.fill(0);
  expect(countEvents(Buffer.concat(kept.pieces()))).toBe(1);
});
