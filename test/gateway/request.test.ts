import fc from 'fast-check';
import { expect, test } from 'vitest';
import { depthWithin, outermost, splice, topLevelMembers } from '../../src/gateway/json.js';
import { type Asked, parseRequest, upstreamBody } from '../../src/gateway/request.js';

const chat = (body: unknown) => parseRequest('chat', Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), 64);
const ok = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };

function asked(body: unknown): Asked {
  const parsed = chat(body);
  if (parsed.kind === 'bad') throw new Error(parsed.message);
  return parsed.asked;
}

function refusal(body: unknown): { code: string; param: string | null } {
  const parsed = chat(body);
  if (parsed.kind !== 'bad') throw new Error('it was accepted');
  return { code: parsed.code, param: parsed.param };
}

// B6
test.each([-1, 0, 1.5, '100', 1e308, 2 ** 53, [], true, {}])('max_tokens %j is refused by name', (value) => {
  expect(refusal({ ...ok, max_tokens: value })).toEqual({ code: 'invalid_number', param: 'max_tokens' });
  expect(refusal({ ...ok, max_completion_tokens: value }).param).toBe('max_completion_tokens');
});

test('numbers that JSON cannot say are refused as no JSON, and 1e309 as no number of tokens', () => {
  expect(refusal('{"model":"m","messages":[{}],"max_tokens":NaN}').code).toBe('invalid_json');
  expect(refusal('{"model":"m","messages":[{}],"max_tokens":1e309}').param).toBe('max_tokens');
});

test('a null bound is no bound, and the larger of two bounds counts', () => {
  expect(asked({ ...ok, max_tokens: null }).maxOutput).toBeNull();
  expect(asked({ ...ok, max_tokens: 10, max_completion_tokens: 20 }).maxOutput).toBe(20);
});

test.each(['model', 'stream', 'n', 'max_tokens', 'messages'])('%s twice is refused, also when spelled with an escape', (key) => {
  const values: Record<string, string> = { model: '"a"', stream: 'true', n: '1', max_tokens: '5', messages: '[{}]' };
  const base = Object.entries(values).map(([name, value]) => `"${name}":${value}`);
  const escaped = `\\u${key.charCodeAt(0).toString(16).padStart(4, '0')}${key.slice(1)}`;
  for (const again of [key, escaped]) {
    const body = `{${[...base, `"${again}":${values[key]}`].join(',')}}`;
    expect(refusal(body)).toEqual({ code: 'duplicate_key', param: key });
  }
});

test('the same word deeper inside or inside a text is no duplicate', () => {
  expect(asked({ ...ok, metadata: { model: 'x' }, messages: [{ role: 'user', content: '"model":"b" "stream"' }] }).model).toBe('m');
});

// B2
test.each(['__proto__', 'constructor', 'toString'])('a model called %s is only a name', (model) => {
  expect(asked({ ...ok, model }).model).toBe(model);
  expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
});

test.each([{}, { model: '' }, { model: 5 }, { model: null }, { model: 'x'.repeat(257) }])('%j has no usable model', (part) => {
  expect(refusal({ messages: ok.messages, ...part }).param).toBe('model');
});

test.each(['api_base', 'base_url', 'api_key', 'extra_headers', 'custom_llm_provider', 'user_config'])(
  '%s cannot redirect a request',
  (key) => {
    expect(refusal({ ...ok, [key]: 'http://169.254.169.254/' }).param).toBe(key);
  },
);

test('n, best_of and several prompts multiply what may be written', () => {
  expect(asked({ ...ok, n: 100 }).choices).toBe(100);
  const parsed = parseRequest('completions', Buffer.from(JSON.stringify({ model: 'm', prompt: ['a', 'b', 'c'], n: 2, best_of: 5 })), 64);
  expect(parsed).toMatchObject({ kind: 'asked', asked: { choices: 15 } });
  expect(refusal({ ...ok, n: 129 }).param).toBe('n');
});

// B14
test('pictures are counted as parts, and the bytes of a data URI are not text', () => {
  const url = `data:image/png;base64,${'A'.repeat(10_000)}`;
  const result = asked({
    ...ok,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url } },
          { type: 'text', text: 'x' },
        ],
      },
    ],
  });
  expect(result).toMatchObject({ images: 1, audios: 0, files: 0 });
  expect(result.textBytes).toBeLessThan(400);
});

test('nesting beyond the limit is refused before it is parsed', () => {
  const deep = `{"model":"m","messages":[${'['.repeat(50_000)}${']'.repeat(50_000)}]}`;
  expect(refusal(deep).code).toBe('too_deep');
  expect(depthWithin(Buffer.from('{"a":"[[[[[["}'), 1)).toBe(true);
});

test('bytes go upstream as they came when nothing has to change', () => {
  const bytes = Buffer.from(JSON.stringify(ok));
  expect(upstreamBody(bytes, { model: null, askUsage: false })).toBe(bytes);
});

test('only the model name and the usage wish are spliced into the bytes', () => {
  const bytes = Buffer.from('{ "messages": [{"role":"user","content":"\\"model\\": 1 é"}],\n "model" : "m", "seed": 1.0 }');
  const changed = upstreamBody(bytes, { model: 'real-"name"', askUsage: true }).toString();
  expect(changed).toBe(
    '{"stream_options":{"include_usage":true}, "messages": [{"role":"user","content":"\\"model\\": 1 é"}],\n "model" : "real-\\"name\\"", "seed": 1.0 }',
  );
  const refused = Buffer.from('{"model":"m","stream_options":{"include_usage":false,"x":1}}');
  expect(JSON.parse(upstreamBody(refused, { model: null, askUsage: true }).toString())).toEqual({
    model: 'm',
    stream_options: { include_usage: true, x: 1 },
  });
});

test.each([
  ['{}', '{"include_usage":true}'],
  ['null', '{"include_usage":true}'],
  ['{ "x" : 1.0 }', '{"include_usage":true, "x" : 1.0 }'],
  ['{"include_usage":false,"y":[{"include_usage":false}],"include\\u005fusage":null}', null],
])('of stream_options %s only the usage wish changes', (options, expected) => {
  const changed = upstreamBody(Buffer.from(`{"stream_options":${options},"model":"m"}`), { model: null, askUsage: true }).toString();
  if (expected) expect(changed).toBe(`{"stream_options":${expected},"model":"m"}`);
  else expect(changed).toContain('{"include_usage":true,"y":[{"include_usage":false}],"include\\u005fusage":true}');
});

test('options nested as deep as 64 KB allow are passed on and not walked through', () => {
  const options = `{"x":${'['.repeat(30_000)}${']'.repeat(30_000)}}`;
  const changed = upstreamBody(Buffer.from(`{"stream_options":${options},"model":"m"}`), { model: null, askUsage: true }).toString();
  expect(changed).toBe(`{"stream_options":{"include_usage":true,${options.slice(1)},"model":"m"}`);
});

test('members of any object are found where they stand', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(0, 2), (value, indent) => {
      const bytes = Buffer.from(JSON.stringify(value, null, indent));
      const found = topLevelMembers(bytes).map(({ key, valueStart, valueEnd }) => [
        key,
        JSON.parse(bytes.toString('utf8', valueStart, valueEnd)),
      ]);
      expect(found).toEqual(Object.entries(JSON.parse(bytes.toString())));
    }),
  );
});

test('names of the outermost object are found when they have a value, whatever else has such a name', () => {
  const names = ['error', 'data'];
  const value = fc.oneof(fc.constant(null), fc.constantFrom('error":{', '{"data":1', 'error'), fc.jsonValue());
  const keys = fc.oneof(fc.constantFrom(...names, 'x'), fc.string());
  fc.assert(
    fc.property(fc.dictionary(keys, fc.oneof(value, fc.dictionary(keys, value))), fc.constantFrom(0, 2), (object, indent) => {
      const bytes = Buffer.from(JSON.stringify(object, null, indent));
      const found = outermost(
        bytes,
        names.map((name) => Buffer.from(name)),
      );
      expect(found).toEqual(names.map((name) => Object.hasOwn(object, name) && object[name] !== null));
    }),
  );
});

test('no bytes make the parser throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.json().map((text) => Buffer.from(text)),
        fc.string().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        for (const kind of ['chat', 'completions', 'embeddings'] as const)
          expect(['asked', 'bad']).toContain(parseRequest(kind, Buffer.from(bytes), 64).kind);
      },
    ),
    { numRuns: 500 },
  );
});

test('splicing keeps every other byte', () => {
  expect(
    splice(Buffer.from('abcdef'), [
      { start: 4, end: 5, text: 'X' },
      { start: 0, end: 1, text: '' },
    ]).toString(),
  ).toBe('bcdXf');
});
