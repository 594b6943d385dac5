import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { buildBook } from '../../src/pricing/book.js';

const folder = mkdtempSync(join(tmpdir(), 'farebox-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'config.yaml');
const example = readFileSync(new URL('../../config.example.yaml', import.meta.url), 'utf8').replace(/#.*$/gm, '');

/** Whatever the text: a value or findings, each with a sentence; a value makes a book or a sentence that names the model. */
function check(text: string): void {
  writeFileSync(file, text);
  const loaded = loadConfig({ file, env: { OPENAI_API_KEY: 'k' } });
  if (!loaded.ok) {
    expect(loaded.findings.some(({ severity }) => severity === 'error')).toBe(true);
    for (const { message, line, column } of loaded.findings) expect(message.length > 0 && line >= 0 && column >= 0).toBe(true);
    return;
  }
  try {
    for (const { entry } of buildBook({ ...loaded.prices, defaults: false }).models()) {
      for (const { value } of entry.table.rates.values()) expect(value.n > 0n).toBe(true);
    }
  } catch (problem) {
    expect(problem).toBeInstanceOf(RangeError);
    expect((problem as Error).message).toContain('the price of');
  }
}

const NASTY = [
  '-1',
  '.nan',
  '.inf',
  '1e400',
  '0x10',
  '010',
  '1_000',
  '"2,5"',
  '0',
  '*',
  '&a',
  '*a',
  '!!js/function x',
  '{',
  '}',
  '[',
  ']',
  '|',
  '>',
  '\t',
  '\u0000',
  '${',
  '${X}',
  '${file:/nope}',
  '? ',
  '- ',
  '---\n',
  '...\n',
  ': ',
  '__proto__: 1',
  '<<: *a',
  '漢',
  '\uD800',
  '\r',
  '"',
  "'",
  '%YAML 9\n',
  '~',
];

test('a configuration with parts replaced is a value or findings', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(example.length), fc.nat(12), fc.constantFrom(...NASTY)), { minLength: 1, maxLength: 4 }),
      (edits) => {
        let text = example;
        for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        check(text);
      },
    ),
    { numRuns: 250 },
  );
});

test('a configuration that stops anywhere is a value or findings', () => {
  fc.assert(
    fc.property(fc.nat(example.length), (end) => check(example.slice(0, end))),
    { numRuns: 100 },
  );
});

test('any text at all is a value or findings', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), check), { numRuns: 250 });
  fc.assert(
    fc.property(
      fc
        .array(fc.constantFrom(...NASTY, 'models:', ' ', '\n', '  a:', 'ratio: 1', 'output: 4x', ','), { maxLength: 30 })
        .map((parts) => parts.join('')),
      check,
    ),
    { numRuns: 500 },
  );
});

test('towers of brackets, huge files and bombs of aliases are findings, quickly', () => {
  check('['.repeat(100_000));
  check(`models: ${'{ a: '.repeat(5_000)}`);
  check('a'.repeat(5_000_000));
  check(
    `a: &a [1,1,1,1,1,1,1,1,1]\n${'bcdefghij'
      .split('')
      .map((name, i) => `${name}: &${name} [${`*${'abcdefghij'[i]},`.repeat(9)}]`)
      .join('\n')}\n`,
  );
  check(Array.from({ length: 3000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'));
});
