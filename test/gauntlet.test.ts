import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './support/source.js';

/** Scenarios of the gauntlet that belong to what is not built: service tiers, paid tools, caches of answers. */
const NOT_BUILT: ReadonlySet<number> = new Set([53, 54, 64]);
const LAST = 68;

/** Numbers in the names of tests, which are texts, not comments. */
function shownBy(text: string): number[] {
  const named = text.matchAll(/(['"`])((?:G\d+)(?:, [A-Z]\d+)*)(?:: |\1, ')/g);
  return [...named].flatMap(([, , numbers = '']) => [...numbers.matchAll(/G(\d+)/g)].map(([, number]) => Number(number)));
}

test('every scenario of the gauntlet that concerns what is built has a test with its number', () => {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'));
  const shown = new Set(files.flatMap((name) => shownBy(readFileSync(join(ROOT, 'test', name), 'utf8'))));
  const wanted = Array.from({ length: LAST }, (_, i) => i + 1).filter((number) => !NOT_BUILT.has(number));
  expect(wanted.filter((number) => !shown.has(number))).toEqual([]);
  expect(files.length).toBeGreaterThan(100);
});
