import { expect, test } from 'vitest';
import { codeDigest, codeOf, meantCode } from '../../src/domain/codes.js';

test('a code is five groups of five, 125 bits, of letters that are not misread', () => {
  const codes = Array.from({ length: 2_000 }, (_, index) => codeOf('seed', index));
  for (const code of codes) expect(code).toMatch(/^(?:[0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}$/);
  expect(new Set(codes).size).toBe(codes.length);
  const seen = new Set(codes.join('').replaceAll('-', ''));
  expect(seen.size).toBe(32);
  expect(codeOf('seed', 7)).toBe(codes[7]);
  expect(codeOf('another seed', 7)).not.toBe(codes[7]);
});

test.each([
  ['capitals', (code: string) => code.toLowerCase()],
  ['no dashes', (code: string) => code.replaceAll('-', '')],
  ['spaces and line ends', (code: string) => ` ${code.replaceAll('-', ' ')}\r\n`],
  ['long dashes', (code: string) => code.replaceAll('-', '\u2013')],
  ['look-alikes', (code: string) => code.replaceAll('0', 'o').replaceAll('1', 'l')],
])('%s do not matter', (_, typed) => {
  const code = codeOf('seed', 3);
  expect(meantCode(typed(code))).toBe(code.replaceAll('-', ''));
});

test.each([
  '',
  'ABCDE',
  `${codeOf('s', 1)}X`,
  codeOf('s', 1).slice(0, -1),
  `U${codeOf('s', 1).slice(1)}`,
  '\u0000'.repeat(25),
  'é'.repeat(25),
])('%j cannot be a code', (typed) => {
  expect(meantCode(typed)).toBeUndefined();
});

test('a digest is keyed, and the same with dashes and without', () => {
  const code = codeOf('seed', 1);
  expect(codeDigest(code, 'pepper')).toBe(codeDigest(code.replaceAll('-', ''), 'pepper'));
  expect(codeDigest(code, 'pepper')).not.toBe(codeDigest(code, 'other'));
});
