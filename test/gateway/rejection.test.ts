import { expect, test } from 'vitest';
import type { UpstreamSettings } from '../../src/domain/settings.js';
import { failureError, isRetryable, isTransient, rejectionError } from '../../src/gateway/rejection.js';

const KEY = 'sk-test-0123456789abcdef';
const settings = { name: 'x', apiKey: KEY } as UpstreamSettings;
const rejected = (status: number, body: unknown = { error: { message: 'no' } }) =>
  rejectionError(
    { status, headers: { 'retry-after': '9' }, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) },
    settings,
  );

test.each([
  [400, 400],
  [404, 404],
  [422, 422],
  [401, 502],
  [402, 502],
  [403, 502],
  [408, 504],
  [429, 429],
  [500, 502],
  [503, 502],
  [504, 504],
  [301, 502],
  [308, 502],
])('an upstream that says %d is a %d to the client', (status, shown) => {
  expect(rejected(status).status).toBe(shown);
});

test('only what may succeed elsewhere is tried elsewhere, and only what may pass is tried again here', () => {
  expect([200, 400, 404, 409, 422].filter((status) => status >= 300 && isRetryable(status))).toEqual([]);
  expect([301, 401, 402, 403, 408, 429, 500, 503].every(isRetryable)).toBe(true);
  expect([401, 402, 403, 429, 302].some(isTransient)).toBe(false);
  expect([408, 500, 502, 503].every(isTransient)).toBe(true);
});

test('the words of an upstream about the request are passed on, with its type, code and parameter', () => {
  const said = { error: { message: 'max_tokens is too large', type: 'invalid_request_error', code: 'too_large', param: 'max_tokens' } };
  expect(rejected(400, said)).toMatchObject({ message: 'max_tokens is too large', code: 'too_large', param: 'max_tokens' });
  expect(rejected(400, { error: 'plain words' }).message).toBe('plain words');
  expect(rejected(400, { message: 'other shape' }).message).toBe('other shape');
});

test.each([
  `your key ${KEY} is wrong`,
  `your key ${KEY.slice(8, 18)} is wrong`,
  `your key ${Buffer.from(KEY).toString('base64')} is wrong`,
  'your key sk-proj-****abcd is wrong',
])('%j is not passed on', (message) => {
  const error = rejected(400, { error: { message } });
  expect(error.message).toBe('The upstream refused the request with 400.');
});

test.each(['', 'not json', '[]', 'null', '{"error":5}', '{"error":{"message":5,"type":["x"],"code":{},"param":"a b"}}', '"text"'])(
  'the body %j is not mistaken for words',
  (body) => {
    expect(rejected(400, body)).toMatchObject({ status: 400, type: 'invalid_request_error', code: 'upstream_rejected', param: null });
  },
);

test('a long message is cut, and a type that is no word is not passed on', () => {
  const error = rejected(400, { error: { message: 'x'.repeat(100_000), type: '<script>', code: 'a\r\nb' } });
  expect(error.message.length).toBe(2_000);
  expect(error).toMatchObject({ type: 'invalid_request_error', code: 'upstream_rejected' });
});

test('no answer at all is a gateway error that says that nothing was charged', () => {
  for (const kind of ['timeout_connect', 'timeout_first_byte', 'timeout_idle'] as const)
    expect(failureError({ kind, sent: true, detail: KEY })).toMatchObject({ status: 504, code: 'upstream_timeout' });
  for (const kind of ['connect', 'reset', 'bad_response', 'aborted'] as const) {
    const error = failureError({ kind, sent: true, detail: KEY });
    expect(error.status).toBe(502);
    expect(error.message).toMatch(/Nothing was charged/);
    expect(error.message).not.toContain(KEY);
  }
});
