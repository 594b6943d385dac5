import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { headerOf, SPENDING, VERBS, type Verb } from '../../src/credits/redis/scripts.js';

/** What the client sends; the headers must say the same. Keys are those beyond the three of the shard. */
const SENT: Record<Verb, { readonly keys: number; readonly fields: number; readonly texts: number }> = {
  lookup: { keys: 1, fields: 0, texts: 0 },
  project: { keys: 4, fields: 2, texts: 5 },
  applied: { keys: 3, fields: 4, texts: 2 },
  expect: { keys: 0, fields: 0, texts: 2 },
  load: { keys: 3, fields: 5, texts: 4 },
  wanted: { keys: 0, fields: 1, texts: 0 },
  due: { keys: 0, fields: 1, texts: 0 },
  holds: { keys: 1, fields: 0, texts: 1 },
  pending: { keys: 1, fields: 0, texts: 1 },
  inspect: { keys: 2, fields: 0, texts: 0 },
  trim: { keys: 0, fields: 4, texts: 0 },
  transition: { keys: 0, fields: 3, texts: 1 },
};

const textOf = (verb: string): string => readFileSync(new URL(`../../src/credits/redis/lua/${verb}.lua`, import.meta.url), 'utf8');

test('each header names as many keys and arguments as the client sends', () => {
  const told = Object.fromEntries(
    VERBS.map((verb) => {
      const { keys, fields, texts } = headerOf(verb);
      return [verb, { keys, fields, texts }];
    }),
  );
  expect(told).toEqual(SENT);
  expect(VERBS.filter((verb) => headerOf(verb).manyKeys)).toEqual(['applied', 'load']);
});

test('each verb uses exactly the arguments that its header names', () => {
  for (const verb of VERBS) {
    const [header, body] = split(textOf(verb));
    const named = new Set([...header.matchAll(/^-- ARGV\[(\d+)/gm)].map((match) => Number(match[1])));
    expect(
      [...named].sort((a, b) => a - b),
      verb,
    ).toEqual(Array.from({ length: named.size }, (_, i) => i + 1));
    for (const [, used] of body.matchAll(/ARGV\[(\d+)\]/g)) expect(named, `${verb} ARGV[${used}]`).toContain(Number(used));
  }
});

test('each header says its answers and why it is safe to repeat, and no script computes in floats', () => {
  for (const verb of [...VERBS, ...SPENDING, 'batch', 'spend', 'look']) {
    const [header, body] = split(textOf(verb));
    expect(header, verb).toMatch(/^-- Answers: /m);
    expect(header, verb).toMatch(/^-- Safe to repeat: /m);
    expect(body, verb).not.toMatch(/HINCRBY|INCRBY|FLOAT|random|\d\.\d/);
  }
});

function split(text: string): readonly [string, string] {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => !line.startsWith('--'));
  return [lines.slice(0, at).join('\n'), lines.slice(at).join('\n')];
}
