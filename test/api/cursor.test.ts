import { expect, test } from 'vitest';
import { createCursors } from '../../src/api/cursor.js';

const cursors = createCursors('pepper');

test('a cursor gives its place back to whoever asks with the same filters', () => {
  const cursor = cursors.make(['2026-01-01', 'org_x'], ['orgs', null]);
  expect(cursors.read(cursor, ['orgs', null])).toEqual(['2026-01-01', 'org_x']);
  expect(cursors.read(cursor, ['orgs', 'active'])).toBe('cursor_mismatch');
});

test('nothing that was not signed here is read', () => {
  const cursor = cursors.make(['a'], []);
  const bytes = Buffer.from(cursor, 'base64url');
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(cursors.read(changed.toString('base64url'), []), `byte ${at}`).toBe('cursor_invalid');
  }
  for (const text of ['', 'AAAA', '../..', '%', 'a'.repeat(5_000), createCursors('other').make(['a'], [])])
    expect(cursors.read(text, [])).toBe('cursor_invalid');
});
