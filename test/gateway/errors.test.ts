import { expect, test } from 'vitest';
import type { Refusal } from '../../src/domain/refusal.js';
import { durationOf, errorBody, errorFrame, refusalError } from '../../src/gateway/errors.js';

const context = {
  creditValue: { amount: '0.01', currency: 'USD' },
  insufficientQuotaStatus: 402,
  resolveUrl: 'https://x/o/org?token=t',
} as const;
type Scope = Extract<Refusal, { kind: 'short' }>['scope'];
const short = (scope: Scope, available: number, inFlight = 0): Refusal => ({
  kind: 'short',
  scope,
  required: 10_000_000,
  available,
  inFlight,
  resetsAtMs: scope === 'balance' ? 0 : 1_767_225_600_000,
});

test.each([
  ['balance', 0, 'insufficient_quota', 'balance_empty'],
  ['balance', 5_000_000, 'request_exceeds_balance', 'balance_empty'],
  ['balance', -5_000_000, 'insufficient_quota', 'balance_empty'],
  ['quota', 5_000_000, 'token_quota_exceeded', 'token_quota'],
  ['member', 5_000_000, 'member_quota_exceeded', 'member_quota'],
  ['limit', 5_000_000, 'monthly_limit_reached', 'limit_reached'],
  ['non_critical', 5_000_000, 'paused_non_critical', 'limit_reached'],
] as const)('too little %s (%d left) is 402 %s, and is not worth a retry', (scope, available, code, reason) => {
  const error = refusalError(short(scope, available), context);
  expect(error).toMatchObject({ status: 402, code, type: 'insufficient_quota', headers: { 'x-should-retry': 'false' } });
  expect(error.headers?.['x-credits-remaining']).toBe(available > 0 ? '5' : '0');
  expect(error.headers).not.toHaveProperty('retry-after');
  expect(error.metadata).toMatchObject({ limit_source: scope, required: { credits: '10', money: { amount: '0.1', currency: 'USD' } } });
  expect(error.metadata?.['resolve_url']).toBe(`https://x/o/org?token=t&reason=${reason}`);
  expect(error.metadata?.['resets_at']).toBe(scope === 'balance' ? null : '2026-01-01T00:00:00.000Z');
});

test.each(['balance', 'quota', 'member', 'limit'] as const)('a %s that running requests hold is 429, and worth a retry', (scope) => {
  const error = refusalError(short(scope, 4_000_000, 6_000_000), context);
  expect(error).toMatchObject({
    status: 429,
    code: 'credits_in_flight',
    headers: { 'retry-after': '1', 'retry-after-ms': '500', 'x-credits-remaining': '4' },
  });
  expect(error.headers).not.toHaveProperty('x-should-retry');
  expect(refusalError(short(scope, 4_000_000, 5_999_999), context).status).toBe(402);
});

test('clients that only know 429 for an empty balance can have it, still without a retry', () => {
  const error = refusalError(short('balance', 0), { ...context, insufficientQuotaStatus: 429 });
  expect(error).toMatchObject({ status: 429, code: 'insufficient_quota', headers: { 'x-should-retry': 'false' } });
});

test.each([
  [{ kind: 'unknown_token' }, 401, 'invalid_api_key'],
  [{ kind: 'token_revoked' }, 401, 'token_revoked'],
  [{ kind: 'token_expired' }, 401, 'token_expired'],
  [{ kind: 'token_paused' }, 403, 'token_paused'],
  [{ kind: 'org_suspended' }, 403, 'organization_suspended'],
  [{ kind: 'rate_limited', scope: 'requests', limit: 60, retryAfterMs: 1_500 }, 429, 'rate_limit_exceeded'],
] as const)('%o is %d %s', (refusal, status, code) => {
  expect(refusalError(refusal, context)).toMatchObject({ status, code });
});

test('a rate limit says when to come back, in seconds and in milliseconds, and never at once', () => {
  const limited = (retryAfterMs: number) =>
    refusalError({ kind: 'rate_limited', scope: 'requests', limit: 60, retryAfterMs }, context).headers;
  expect(limited(1_500)).toMatchObject({ 'retry-after': '2', 'retry-after-ms': '1500' });
  expect(limited(0)).toMatchObject({ 'retry-after': '1', 'retry-after-ms': '1' });
});

test('every error has the five fields of OpenAI clients, and text cannot break out of its frame', () => {
  const error = { status: 400, code: 'c', type: 't', message: 'a\n\ndata: [DONE]\n\n"\u2028' };
  expect(JSON.parse(errorBody(error, 'req_1'))).toEqual({
    error: { message: error.message, type: 't', param: null, code: 'c', metadata: { request_id: 'req_1' } },
  });
  expect(errorFrame(error, 'req_1').split('\n\n')).toHaveLength(2);
});

test.each([
  ['requests', { 'x-ratelimit-limit-requests': '60', 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '1.5s' }],
  ['tokens', { 'x-ratelimit-limit-tokens': '60', 'x-ratelimit-reset-tokens': '1.5s' }],
  ['concurrency', {}],
] as const)('a limit of %s is told in the headers that OpenAI clients read', (scope, expected) => {
  const { headers = {} } = refusalError({ kind: 'rate_limited', scope, limit: 60, retryAfterMs: 1_500 }, context);
  expect(Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-ratelimit')))).toEqual(expected);
});

test.each([
  [1, '1ms'],
  [999, '999ms'],
  [1_000, '1s'],
  [61_500, '1m1.5s'],
  [120_000, '2m0s'],
])('%i ms are %s', (ms, text) => {
  expect(durationOf(ms)).toBe(text);
});
