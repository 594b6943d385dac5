import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { COMPAT_PATHS } from '../../src/api/compat/compat.js';
import { ORGANIZATION_PATHS } from '../../src/api/compat/organization.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { post, quiet } from './books.js';

let upstream: up.Upstream;
let redis: RedisServer;
let database: TestDatabase;
let farebox: Farebox;

beforeAll(async () => {
  upstream = await up.startUpstream();
  redis = await startRedis();
  database = await freshDatabase(inject('databaseUrl'));
  const config = { server: { public_url: 'https://pay.example.com' } };
  farebox = await startFarebox({ upstream: upstream.url, config, redisUrl: redis.url, databaseUrl: database.url, processes: 1 });
});
afterAll(async () => {
  await farebox.stop();
  await database.drop();
  await Promise.all([redis.stop(), upstream.stop()]);
});

const chat = JSON.stringify({ model: 'fake-model', max_tokens: 20, messages: [{ role: 'user', content: 'Hi' }] });

test('a token learns what it spent, and whoever watches hears of it, through gateways that have no database', async () => {
  const { orgId, tokenId, token } = await farebox.customer(20);
  const gone = new AbortController();
  const events = await fetch(`${farebox.url}/api/v1/orgs/${orgId}/events`, {
    headers: { authorization: `Bearer ${farebox.operatorKey}` },
    signal: gone.signal,
  });
  const reader = events.body?.pipeThrough(new TextDecoderStream()).getReader();
  let heard = '';
  const hear = async (what: RegExp): Promise<void> => {
    while (!what.test(heard)) heard += (await reader?.read())?.value ?? '';
  };
  await hear(/event: balance/);

  const served = await post({ farebox, orgId, token }, '/v1/chat/completions', chat).end();
  expect(served.status).toBe(200);
  await hear(/event: request\.settled/);
  expect(heard).toContain(tokenId);
  gone.abort();

  await quiet(farebox, orgId);
  const [row] = await farebox.logs(orgId);
  const ask = async (path: string) => {
    const answer = await fetch(`${farebox.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const amount = (row?.['charged'] as { money: { amount: string } } | undefined)?.money.amount;
  expect(await ask('/v1/key')).toMatchObject({ status: 200, body: { data: { usage: Number(amount), limit: null } } });
  expect(await ask(`/v1/generation?id=${row?.['request_id']}`)).toMatchObject({
    status: 200,
    body: { data: { total_cost: Number(amount) } },
  });
  expect(await ask('/dashboard/billing/usage')).toMatchObject({ status: 200, body: { object: 'list' } });
  expect((await ask('/v1/key/')).status).toBe(404);
  const costs = (await ask('/v1/organization/costs')).body['data'] as { results: { amount: { value: number } }[] }[];
  expect(costs.flatMap(({ results }) => results.map((one) => one.amount.value))).toEqual([Number(amount)]);
  for (const path of [...COMPAT_PATHS, ...ORGANIZATION_PATHS])
    expect((await ask(path)).status, path).toBe(path === '/v1/generation' ? 400 : 200);
  expect((await ask('/v1/organization/users')).status).toBe(404);
});

test('the list of models says what each costs this token and, where it is known, how much it reads', async () => {
  const { token } = await farebox.customer(1);
  const ask = async (path: string) => (await fetch(`${farebox.url}${path}`, { headers: { authorization: `Bearer ${token}` } })).json();
  const model = {
    ...{ id: 'fake-model', object: 'model', owned_by: 'fake', context_length: null, max_completion_tokens: null },
    pricing: { prompt: '0.000002', completion: '0.000008', input_cache_read: '0.000001' },
    pricing_unit: 'USD',
  };
  expect(await ask('/v1/models')).toMatchObject({
    object: 'list',
    data: expect.arrayContaining([expect.objectContaining({ id: 'fake-model' })]),
  });
  expect(await ask('/v1/models/fake-model')).toMatchObject(model);
});

// B31
test('the list of models is free but has a pace: a token in a loop is told to wait, others and the requests it pays for go on', async () => {
  const [loop, other] = [await farebox.customer(1), await farebox.customer(1)];
  const list = (token: string, path = '/v1/models') => fetch(`${farebox.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
  const first = await list(loop.token);
  expect(first.status).toBe(200);
  let told: Response | undefined;
  for (let asked = 0; asked < 20_000 && !told; asked += 50) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => list(loop.token, i % 2 ? '/v1/models' : '/v1/models/fake-model')),
    );
    told = answers.find(({ status }) => status === 429);
    await Promise.all(answers.filter((answer) => answer !== told).map((answer) => answer.text()));
  }
  expect(Number(told?.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(told?.headers.get('x-ratelimit-limit-requests')).toBe('1200');
  expect(await told?.json()).toMatchObject({ error: { code: 'rate_limit_exceeded', type: 'rate_limit_error' } });
  expect((await list(other.token)).status).toBe(200);
});

test('nothing that is served is a page by mistake, and whoever came by https stays there', async () => {
  const { token } = await farebox.customer(1);
  const headers = { authorization: `Bearer ${token}` };
  for (const path of [
    '/healthz',
    '/readyz',
    '/metrics',
    '/v1/models',
    '/v1/models/none',
    '/v1/nothing',
    '/v1/key',
    '/v1/credits',
    '/api/v1/me',
  ]) {
    const answer = await fetch(`${farebox.url}${path}`, { headers });
    expect(answer.headers.get('content-security-policy'), path).toMatch(/^default-src 'none'/);
    expect(answer.headers.get('x-content-type-options'), path).toBe('nosniff');
    expect(answer.headers.get('x-frame-options'), path).toBe('DENY');
    expect(answer.headers.get('strict-transport-security'), path).toBe('max-age=63072000');
  }
  const refused = await fetch(`${farebox.url}/v1/chat/completions`, { method: 'POST', body: '{}' });
  expect(refused.status).toBe(401);
  expect(refused.headers.get('content-security-policy')).toMatch(/^default-src 'none'/);
  expect(refused.headers.get('x-frame-options')).toBe('DENY');
});
