import { expect, test } from 'vitest';
import { matches, overlaps } from '../../src/domain/patterns.js';

test('two patterns overlap when some name goes by both', () => {
  const pairs = [
    ['gpt-4o', 'gpt-4o', true],
    ['gpt-4o', 'gpt-*', true],
    ['gpt-*', 'gpt-4o', true],
    ['gpt-4*', 'gpt-*', true],
    ['*mini', 'gpt-*', true],
    ['g*mini', 'gpt-*', true],
    ['claude-*', 'gpt-*', false],
    ['gp', 'gpt-*', false],
    ['gpt-4o', 'gpt-5*', false],
    ['*', '*', true],
  ] as const;
  for (const [pattern, named, expected] of pairs) expect(overlaps(pattern, named), `${pattern} and ${named}`).toBe(expected);
});

test('many stars take no longer than few', () => {
  const started = Date.now();
  expect(matches('*a'.repeat(5_000), 'a'.repeat(4_999))).toBe(false);
  expect(Date.now() - started).toBeLessThan(1_000);
});
