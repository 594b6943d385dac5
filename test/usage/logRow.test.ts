import { expect, test } from 'vitest';
import { newRequestId, requestTimeMs } from '../../src/domain/ids.js';
import { firstIdAt, uuidOf } from '../../src/usage/logRow.js';

test('the first id of a millisecond comes before every id made in it, and after every one made before', () => {
  const id = newRequestId();
  const ms = requestTimeMs(id);
  expect(firstIdAt(ms) <= uuidOf(id)).toBe(true);
  expect(firstIdAt(ms + 1) > uuidOf(id)).toBe(true);
  expect(firstIdAt(ms)).toMatch(/^[0-9a-f]{32}$/);
  expect(firstIdAt(-5)).toBe('0'.repeat(32));
});
