import { expect, test } from 'vitest';
import { blank, functionsOf, importsOf, sources } from './source.js';

const scan = (text: string) => ({
  path: 'src/gateway/x.ts',
  text,
  code: blank(text),
  lines: 0,
  imports: importsOf('src/gateway/x.ts', text, blank(text)),
});

test('every kind of import is found, and types are told from values', () => {
  const { imports } = scan(`import type { A } from '../credits/store.js';
import { type B, type C } from "undici";
import D, { E } from '@hono/node-server/utils/response';
import {
  F,
} from 'hono/cors';
export { G } from './g.js';
export * from './h.js';
import './i.js';
const j = await import('postgres');
// import k from 'nowhere';
const l = "import m from 'nowhere'";`);
  expect(imports.map(({ target, typeOnly }) => `${target}${typeOnly ? ' (type)' : ''}`)).toEqual([
    'src/credits/store.ts (type)',
    'undici (type)',
    '@hono/node-server',
    'hono',
    'src/gateway/g.js',
    'src/gateway/h.js',
    'src/gateway/i.js',
    'postgres',
  ]);
});

test('text, comments and regular expressions are not code; what stands inside a template is', () => {
  const { code } = scan('const a = `x ${begin({ b: `any ${c}` })} any`; // any\nconst d = /any["\'`]/g; const e = f / any2 / 3;\nany');
  expect(code.match(/any\d?/g)).toEqual(['any2', 'any']);
  expect(code).toContain('begin({ b:');
});

test('functions are measured from their name to their closing brace', () => {
  const { code } = scan(`export async function one(
  a: number,
): Promise<void> {
  if (a) {
    two();
  }
}
const three = (b: string): void => {
  b;
};
class X {
  method(): void {
    for (;;) {
    }
  }
}`);
  const fns = functionsOf({ path: '', text: '', code, lines: 0, imports: [] });
  expect(fns.map(({ line, lines }) => [line, lines])).toEqual([
    [1, 7],
    [8, 3],
    [12, 4],
  ]);
});

test('the scanner never loses its place: braces balance in every file', () => {
  const count = (text: string, letter: string) => text.split(letter).length;
  const all = ['src', 'test', 'scripts', 'bench'].flatMap(sources);
  expect(all.length).toBeGreaterThan(20);
  const lost = all.filter(({ code }) => ['{}', '()', '[]'].some((pair) => count(code, pair.charAt(0)) !== count(code, pair.charAt(1))));
  expect(lost.map((file) => file.path)).toEqual([]);
});
