import { expect, test } from 'vitest';
import { read } from './support/source.js';

const rows = [...read('docs/attacks.md').matchAll(/^\| ([A-Z]\d+) \| (.+) \| `(test\/[^`]+)` \|$/gm)].map(
  ([, id = '', what = '', file = '']) => ({
    id,
    what,
    file,
  }),
);

test('every attack of the page is in the test it names, by its number', () => {
  expect(rows.length).toBeGreaterThan(60);
  const lost = rows.filter(({ id, file }) => !new RegExp(`\\b${id}\\b`).test(read(file)));
  expect(lost).toEqual([]);
});

test('no attack is there twice, and each says what it is', () => {
  expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  expect(rows.filter(({ what }) => what.trim().length < 10)).toEqual([]);
  expect(
    read('docs/attacks.md')
      .split('\n')
      .filter((line) => /^\| [A-Z]\d+ \|/.test(line)),
  ).toHaveLength(rows.length);
});
