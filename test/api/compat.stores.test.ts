import { beforeAll, describe, expect, test } from 'vitest';
import { COMPAT_PATHS } from '../../src/api/compat/compat.js';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let org = '';
let limited = { id: '', secret: '' };
let open = { id: '', secret: '' };
let event: ChargeEvent;
const NOW = Date.now();

beforeAll(async () => {
  org = await api.org();
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 10, reason: 'x' });
  limited = await api.token(org, { name: 'ci-bot', quota: 1 });
  open = await api.token(org);
  // 300,000 µcr of a quota of 1 credit; a credit is worth 0.01 USD.
  event = requestOf({ org, token: limited.id, atMs: NOW, input: 20_000, output: 0, over: { stream: true, ttft_ms: 50 } });
  await post(api.db, event, requestOf({ org, token: open.id, atMs: NOW, over: { model: 'o3' } }));
});

async function ask(path: string, secret: string | null = limited.secret, init: RequestInit = {}) {
  const response = await api.app.request(`http://farebox.test${path}`, {
    ...init,
    headers: { ...(secret === null ? {} : { authorization: `Bearer ${secret}` }), ...init.headers },
  });
  const body = (await response.json()) as Record<string, never> & { error?: { code: string; message: string; type: string } };
  expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
  expect(response.headers.get('cache-control')).toBe('no-store');
  return { status: response.status, body: body as Record<string, unknown> & { error?: { code: string } } };
}

test('/v1/key and /v1/auth/key: the quota, what was used, and what can be spent now', async () => {
  const expected = {
    data: {
      label: 'ci-bot',
      limit: 0.01,
      limit_remaining: 0.007,
      limit_reset: null,
      usage: 0.003,
      usage_daily: 0.003,
      usage_weekly: 0.003,
      usage_monthly: 0.003,
      is_free_tier: false,
      expires_at: null,
      rate_limit: null,
      effective: { remaining: 0.007, binding: 'token_quota' },
    },
  };
  expect(await ask('/v1/key')).toEqual({ status: 200, body: expected });
  expect((await ask('/v1/auth/key')).body).toEqual(expected);
  expect((await ask('/v1/key', open.secret)).body['data']).toMatchObject({
    limit: null,
    limit_remaining: null,
    effective: { binding: 'balance' },
  });
});

test('/v1/key: what the tokens of its owner have left of a monthly quota together', async () => {
  const person = 'usr_0123456789abcdef';
  await api.db.query("insert into org_members (org_id, person_id, role_id, monthly_quota) values ($1, $2, 'developer', 400000)", [
    org,
    person,
  ]);
  await api.db.query('update tokens set owner_id = $2 where token_id = any ($1)', [[limited.id, open.id], person]);
  const effective = { remaining: 0.001, binding: 'member_quota' };
  const used = 'update token_use set monthly = 300000 where token_id = $1';
  await api.db.query(used, [limited.id]);
  await api.db.query(used.replace('300000', '0'), [open.id]);
  for (const { secret } of [limited, open]) expect((await ask('/v1/key', secret)).body['data']).toMatchObject({ effective });
  await api.db.query('delete from org_members where org_id = $1', [org]);
});

test('/v1/credits: the difference is what the token has left, never what the organization has', async () => {
  expect((await ask('/v1/credits')).body).toEqual({ data: { total_credits: 0.01, total_usage: 0.003 } });
  expect((await ask('/v1/credits', open.secret)).body['data']).toMatchObject({ total_credits: 100_000_000 });
});

test('/v1/generation: a settled request of this very token', async () => {
  expect((await ask(`/v1/generation?id=${event.request_id}`)).body).toEqual({
    data: {
      id: event.request_id,
      model: 'gpt-4o-mini',
      created_at: new Date(NOW).toISOString(),
      streamed: true,
      cancelled: false,
      finish_reason: 'stop',
      latency: 50,
      generation_time: 1234,
      provider_name: 'openai',
      tokens_prompt: 20_000,
      tokens_completion: 0,
      native_tokens_prompt: 20_000,
      native_tokens_completion: 0,
      native_tokens_cached: 0,
      native_tokens_reasoning: 0,
      total_cost: 0.003,
      usage: 0.003,
    },
  });
  expect(await ask(`/v1/generation?id=${event.request_id}`, open.secret)).toMatchObject({
    status: 404,
    body: { error: { code: 'generation_not_found' } },
  });
  expect(await ask('/v1/generation?id=x')).toMatchObject({
    status: 400,
    body: { error: { code: 'invalid_id', type: 'invalid_request_error', param: 'id' } },
  });
});

test('/v1/usage: pages of buckets with this token’s requests alone', async () => {
  const start = Math.floor(NOW / 1000) - 3_600;
  const day = Date.parse(new Date(NOW).toISOString().slice(0, 10)) / 1000;
  const result = {
    object: 'organization.usage.completions.result',
    input_tokens: 20_000,
    output_tokens: 0,
    input_cached_tokens: 0,
    num_model_requests: 1,
    project_id: null,
    user_id: null,
    api_key_id: limited.id,
    model: 'gpt-4o-mini',
    batch: null,
    cost: 0.003,
  };
  // Around midnight, and around the hour, the range touches two buckets; the last one is meant.
  const last = async (query: string) => {
    const { data, ...page } = (await ask(`/v1/usage?${query}`)).body as { data?: unknown[] };
    expect(page).toEqual({ object: 'page', has_more: false, next_page: null });
    return data?.at(-1);
  };
  const bucket = (start_time: number, length: number, one: object) => ({
    object: 'bucket',
    ...{ start_time, end_time: start_time + length, results: [one] },
  });
  expect(await last(`start_time=${start}&group_by=model`)).toEqual(bucket(day, 86_400, result));
  const hour = Math.floor(NOW / 3_600_000) * 3_600;
  const until = `end_time=${Math.ceil((NOW + 1) / 1000)}`;
  expect(await last(`start_time=${start}&${until}&bucket_width=1h`)).toEqual(bucket(hour, 3_600, { ...result, model: null }));
  const minute = Math.floor(NOW / 60_000) * 60;
  expect(await last(`start_time=${start}&${until}&bucket_width=1m`)).toEqual(bucket(minute, 60, { ...result, model: null }));
  const long = (await ask(`/v1/usage?start_time=${start - 40 * 86_400}`)).body;
  expect(long).toMatchObject({ has_more: true, data: { length: 31 } });
  expect((await ask(`/v1/usage?start_time=${start - 40 * 86_400}&page=${String(long['next_page'])}`)).body).toMatchObject({
    has_more: false,
  });
  for (const [query, code] of [
    ['start_time=now', 'invalid_time'],
    [`start_time=${start}&end_time=${start}`, 'invalid_range'],
    ['bucket_width=1w', 'invalid_bucket_width'],
    ['group_by=colour', 'invalid_group_by'],
    ['limit=32', 'invalid_limit'],
    ['page=nonsense', 'invalid_page'],
    ['project_ids=x', 'invalid_filter'],
  ])
    expect(await ask(`/v1/usage?${query}`), query).toMatchObject({ status: 400, body: { error: { code } } });
});

describe('/v1/dashboard/billing', () => {
  for (const base of ['/v1/dashboard/billing', '/dashboard/billing']) {
    test(`${base}: hard limit less usage is what is left`, async () => {
      const subscription = (await ask(`${base}/subscription`)).body;
      expect(subscription).toEqual({
        object: 'billing_subscription',
        has_payment_method: true,
        soft_limit_usd: 0.01,
        hard_limit_usd: 0.01,
        system_hard_limit_usd: 0.01,
        access_until: 0,
      });
      const usage = (await ask(`${base}/usage`)).body;
      expect(usage).toMatchObject({
        object: 'list',
        total_usage: 0.3,
        daily_costs: [{ line_items: [{ name: 'gpt-4o-mini', cost: 0.3 }] }],
      });
      expect(await ask(`${base}/usage?start_date=2026-02-30`)).toMatchObject({ status: 400, body: { error: { code: 'invalid_date' } } });
      expect((await ask(`${base}/credit_grants`)).body).toMatchObject({
        object: 'credit_summary',
        total_granted: 0.01,
        total_used: 0.003,
        total_available: 0.007,
        grants: { object: 'list', data: [{ object: 'credit_grant', grant_amount: 0.01, used_amount: 0.003, expires_at: null }] },
      });
    });
  }
});

test('who may ask: a token that is spent may, one that is paused, expired, revoked or not ours may not', async () => {
  const spent = await api.token(org, { quota: 0.000001 });
  await post(api.db, requestOf({ org, token: spent.id, atMs: NOW }));
  expect((await ask('/v1/key', spent.secret)).body['data']).toMatchObject({
    limit_remaining: 0,
    effective: { remaining: 0, binding: 'token_quota' },
  });
  const cases: [string, number, string][] = [
    ["status = 'paused'", 403, 'token_paused'],
    ["status = 'active', expires_at = now() - interval '1 second'", 401, 'token_expired'],
    ["expires_at = null, ips = '{10.0.0.0/8}'", 403, 'ip_not_allowed'],
    ["status = 'revoked'", 401, 'token_revoked'],
  ];
  for (const [change, status, code] of cases) {
    await api.db.query(`update tokens set ${change} where token_id = $1`, [spent.id]);
    for (const path of COMPAT_PATHS)
      expect(await ask(path, spent.secret), `${code} ${path}`).toMatchObject({ status, body: { error: { code } } });
  }
  const last = spent.secret.slice(-1) === 'A' ? 'B' : 'A';
  for (const secret of [null, OPERATOR_KEY, 'nonsense', spent.secret.slice(0, -1) + last])
    expect(await ask('/v1/key', secret)).toMatchObject({ status: 401, body: { error: { code: 'invalid_api_key' } } });
  expect(await ask('/v1/key', limited.secret, { method: 'POST' })).toMatchObject({
    status: 405,
    body: { error: { code: 'method_not_allowed' } },
  });
});

describe('what stands around every answer', () => {
  const answered = (path: string, headers: Record<string, string> = {}) => api.app.request(`http://farebox.test${path}`, { headers });

  test('no answer is a page, good or bad', async () => {
    for (const answer of [await answered('/v1/key', { authorization: `Bearer ${open.secret}` }), await answered('/v1/key')]) {
      expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'none'; frame-ancestors 'none'/);
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
      expect(answer.headers.get('x-frame-options')).toBe('DENY');
      expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    }
  });

  test('each token has its own pace, and is told how much of it is left', async () => {
    const left = async (secret: string) =>
      Number((await answered('/v1/key', { authorization: `Bearer ${secret}` })).headers.get('x-ratelimit-remaining-requests'));
    const fresh = await api.token(org);
    expect(await left(fresh.secret)).toBe(1_199);
    expect(await left(fresh.secret)).toBeLessThanOrEqual(1_199);
    const other = await api.token(org);
    expect(await left(other.secret)).toBe(1_199);
  });

  test('who asks too often without a token is told to wait, and tokens go on', async () => {
    let answer = await answered('/v1/key');
    for (let i = 0; i < 3_000 && answer.status === 401; i++) answer = await answered('/v1/key');
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await answer.json()).toMatchObject({ error: { code: 'rate_limit_exceeded', type: 'rate_limit_error' } });
    expect((await answered('/v1/key', { authorization: `Bearer ${open.secret}` })).status).toBe(200);
  });
});
