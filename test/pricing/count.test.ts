import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { get_encoding } from 'tiktoken';
import { expect, test } from 'vitest';
import { type Counted, type CountedEndpoint, type CountJob, count, type Encode } from '../../src/pricing/count.js';
import { encodingOf } from '../../src/pricing/encoding.js';
import { piecesOf } from '../../src/pricing/guard.js';

interface Vector {
  readonly name: string;
  readonly endpoint: CountedEndpoint;
  readonly stream?: boolean;
  readonly request: unknown;
  readonly response: unknown;
  readonly unit?: Counted;
  readonly o200k?: Counted;
  readonly cl100k?: Counted;
}

const { vectors } = JSON.parse(readFileSync(new URL('./vectors.json', import.meta.url), 'utf8')) as { vectors: Vector[] };
const BOUNDS = { image: 1000, audio: 2000, file: 3000 };
const unit: Encode = (text) => text.length;
const encoders = { o200k: get_encoding('o200k_base'), cl100k: get_encoding('cl100k_base') };
const real =
  (name: 'o200k' | 'cl100k'): Encode =>
  (text) =>
    piecesOf(text).reduce((sum, piece) => sum + encoders[name].encode_ordinary(piece).length, 0);

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
const jobOf = (vector: Vector): CountJob => ({
  endpoint: vector.endpoint,
  stream: vector.stream ?? false,
  request: text(vector.request),
  response: text(vector.response),
  bounds: BOUNDS,
});

test('the published vectors exist', () => {
  expect(vectors.length).toBeGreaterThan(15);
});

for (const vector of vectors) {
  test(`vector: ${vector.name}`, () => {
    if (vector.unit) expect(count(jobOf(vector), unit)).toEqual(vector.unit);
    for (const name of ['o200k', 'cl100k'] as const) if (vector[name]) expect(count(jobOf(vector), real(name))).toEqual(vector[name]);
    expect(vector.unit ?? vector.o200k ?? vector.cl100k).toBeDefined();
  });
}

test('strict holds as many tokens as the rule can find: never more than the bytes of the body plus 8 per message and 3', () => {
  const message = fc.record({
    role: fc.constantFrom('user', 'system'),
    content: fc.string({ unit: 'binary', maxLength: 60 }),
    name: fc.string({ maxLength: 5 }),
  });
  const request = fc.record({
    messages: fc.array(message, { maxLength: 5 }),
    tools: fc.option(
      fc.json().map((one) => JSON.parse(one)),
      { nil: undefined },
    ),
  });
  fc.assert(
    fc.property(request, (found) => {
      const body = JSON.stringify(found);
      const { input } = count({ endpoint: 'chat', stream: false, request: body, response: '', bounds: BOUNDS }, real('o200k'));
      expect(input).toBeLessThanOrEqual(Buffer.byteLength(body) + 8 * found.messages.length + 3);
    }),
    { numRuns: 300 },
  );
});

test('whatever arrives, counting answers whole numbers and does not throw', () => {
  const field = fc.constantFrom(
    'messages',
    'content',
    'choices',
    'delta',
    'tool_calls',
    'function',
    'arguments',
    'index',
    'text',
    'type',
    'input',
    'prompt',
    'tools',
    '__proto__',
    'audio',
  );
  const anything = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, 1, -1, 1e308, '', 'text', 'image_url', 'x'),
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(field, tie('node'), { maxKeys: 4 }),
    ),
  })).node;
  fc.assert(
    fc.property(
      anything,
      anything,
      fc.constantFrom<CountedEndpoint>('chat', 'completions', 'embeddings'),
      fc.boolean(),
      (request, response, endpoint, stream) => {
        const found = count(
          {
            endpoint,
            stream,
            request: JSON.stringify(request),
            response: stream ? `data: ${JSON.stringify(response)}\n\n` : JSON.stringify(response),
            bounds: BOUNDS,
          },
          unit,
        );
        expect(Number.isSafeInteger(found.input) && found.input >= 0).toBe(true);
        expect(Number.isSafeInteger(found.output) && found.output >= 0).toBe(true);
      },
    ),
    { numRuns: 1000 },
  );
});

test('the guard loses nothing, cuts no pair of surrogates, and leaves no long run', () => {
  const piece = fc.constantFrom('a', 'é', '漢', '\u0301', ' ', '\n', '/', '😀', '👨‍👩‍👧', '1', '\uD83D', 'word ', '—');
  const runs = fc
    .array(fc.tuple(piece, fc.integer({ min: 1, max: 400 })), { maxLength: 8 })
    .map((found) => found.map(([one, times]) => one.repeat(times)).join(''));
  fc.assert(
    fc.property(runs, (found) => {
      const pieces = piecesOf(found);
      expect(pieces.join('')).toBe(found);
      for (const one of pieces) {
        for (const [run] of one.matchAll(/[^\p{L}\p{N}]+|[\p{L}\p{M}]+/gu)) expect(run.length).toBeLessThanOrEqual(256);
      }
      for (let i = 1; i < pieces.length; i++) {
        const [last, first] = [pieces[i - 1]?.charCodeAt((pieces[i - 1]?.length ?? 1) - 1) ?? 0, pieces[i]?.charCodeAt(0) ?? 0];
        expect(last >= 0xd800 && last <= 0xdbff && first >= 0xdc00 && first <= 0xdfff).toBe(false);
      }
    }),
    { numRuns: 300 },
  );
});

test('ordinary text is not cut at all', () => {
  const prose = 'The quick brown fox jumps over the lazy dog, 42 times. '.repeat(200);
  expect(piecesOf(prose)).toEqual([prose]);
});

test.each([
  ['gpt-4o-mini', 'o200k_base'],
  ['gpt-4.1-nano', 'o200k_base'],
  ['gpt-4-0613', 'cl100k_base'],
  ['gpt-3.5-turbo', 'cl100k_base'],
  ['ft:gpt-3.5-turbo:acme', 'cl100k_base'],
  ['text-embedding-3-large', 'cl100k_base'],
  ['text-davinci-003', 'p50k_base'],
  ['ada', 'r50k_base'],
  ['gpt-7', 'o200k_base'],
  ['claude-opus-4-6', 'o200k_base'],
  ['__proto__', 'o200k_base'],
] as const)('%s is counted as %s', (model, encoding) => {
  expect(encodingOf(model)).toBe(encoding);
});
