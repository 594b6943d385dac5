import { expect, test } from 'vitest';
import { matches } from '../../src/domain/patterns.js';
import { readUsage } from '../../src/upstreams/usage.js';

const limits = { inputMax: 1_000_000, outputMax: 100_000, needsOutput: true };
const read = (usage: unknown) => readUsage(usage, limits);

test('a usual report is read with its subsets', () => {
  const report = {
    prompt_tokens: 1000,
    completion_tokens: 500,
    total_tokens: 1500,
    prompt_tokens_details: { cached_tokens: 200, audio_tokens: 10 },
    completion_tokens_details: { reasoning_tokens: 300 },
  };
  expect(read(report)).toMatchObject({
    kind: 'usage',
    usage: { input: 1000, cached_input: 200, audio_input: 10, output: 500, reasoning: 300 },
    flags: [],
  });
});

test.each([-1, 1.5, '12', true, [], {}, Number.POSITIVE_INFINITY, Number.NaN, 2 ** 53])(
  '%j tokens cannot be true, so the report is not',
  (value) => {
    expect(read({ prompt_tokens: value, completion_tokens: 1 }).kind).toBe('absurd');
    expect(read({ prompt_tokens: 1, completion_tokens: value }).kind).toBe('absurd');
    expect(read({ prompt_tokens: 1, completion_tokens: 1, prompt_tokens_details: { cached_tokens: value } }).kind).toBe('absurd');
  },
);

test.each([['text'], [5], [[]], [{}], [{ completion_tokens: 3 }], [{ prompt_tokens: 3 }], [{ unreadable: true }]])(
  '%j is no report',
  (usage) => {
    expect(read(usage).kind).toBe('absurd');
  },
);

test('nothing reported is something else than nonsense reported', () => {
  expect(read(null).kind).toBe('none');
  expect(read(undefined).kind).toBe('none');
});

// B18
test('more than the model can write or read is absurd', () => {
  expect(read({ prompt_tokens: 1, completion_tokens: 100_001 }).kind).toBe('absurd');
  expect(read({ prompt_tokens: 1_000_001, completion_tokens: 1 }).kind).toBe('absurd');
});

test('a subset larger than its whole is cut to it and flagged', () => {
  expect(
    read({
      prompt_tokens: 10,
      completion_tokens: 5,
      prompt_tokens_details: { cached_tokens: 99 },
      completion_tokens_details: { reasoning_tokens: 9 },
    }),
  ).toMatchObject({
    usage: { input: 10, cached_input: 10, output: 5, reasoning: 5 },
    flags: ['usage_subset_too_large'],
  });
});

test('an embeddings report needs no output', () => {
  expect(readUsage({ prompt_tokens: 8, total_tokens: 8 }, { ...limits, needsOutput: false })).toMatchObject({
    usage: { input: 8, output: 0 },
  });
});

test('names of properties every object has are not read as numbers', () => {
  expect(read(JSON.parse('{"__proto__":{"prompt_tokens":1,"completion_tokens":1}}')).kind).toBe('absurd');
});

test('patterns match with * anywhere and nothing else special', () => {
  expect(matches('gpt-*', 'gpt-4o')).toBe(true);
  expect(matches('gpt-*', 'xgpt-4o')).toBe(false);
  expect(matches('ft:*:acme:*', 'ft:gpt:acme:1')).toBe(true);
  expect(matches('*', '__proto__')).toBe(true);
  expect(matches('a.c', 'abc')).toBe(false);
  expect(matches('ab*ba', 'aba')).toBe(false);
  expect(matches(`${'*a'.repeat(50)}*b`, 'a'.repeat(5_000))).toBe(false);
});
