import { expect, test } from 'vitest';
import { newRequestId, requestTimeMs } from '../../src/domain/ids.js';

const NOW = Date.parse('2026-11-20T12:00:00Z');
const DAY = 86_400_000;

test('ids of one process are in order, also while its clock is put right by a little', () => {
  const ids = [0, 0, 0, 5, 3, 4, -20_000, 6].map((ms) => newRequestId(NOW + ms));
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
});

test('five thousand in a millisecond are in order and all different', () => {
  const ids = Array.from({ length: 5_000 }, () => newRequestId(NOW + DAY));
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
});

test('a clock that was forty days ahead and is right again is believed: an id of then could not be booked', () => {
  newRequestId(NOW + 40 * DAY);
  const ids = Array.from({ length: 3 }, () => newRequestId(NOW));
  expect(ids.map(requestTimeMs)).toEqual([NOW, NOW, NOW]);
  expect(new Set(ids).size).toBe(3);
});
