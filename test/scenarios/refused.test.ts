import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import type { Result } from '../support/sse.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, eventually, expectCleanBooks, post, quiet, type Row, requestIdOf, rowOf, scriptOf } from './books.js';
import { sendCrowd } from './crowd.js';

const CHAT = '/v1/chat/completions';
const config = { models: { 'fake-flat': { per: 'request', price: 10 } } };
let upstream: up.Upstream;
let redis: RedisServer;
let many: Farebox;
let alone: Farebox;

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  const [one, two] = await Promise.all([freshDatabase(inject('databaseUrl')), freshDatabase(inject('databaseUrl'))]);
  many = await startFarebox({ upstream: upstream.url, config, databaseUrl: one.url, redisUrl: redis.url, processes: 2 });
  alone = await startFarebox({ upstream: upstream.url, config, databaseUrl: two.url });
});
beforeEach(() => void scriptOf(upstream));
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

interface Refused extends Row {
  readonly refusal: { readonly code: string; readonly unlisted: number } | null;
  readonly agent: string | null;
  readonly conversation: string | null;
  readonly end_user: string | null;
  readonly latency_ms: number;
}

const flat = (more: Record<string, unknown> = {}) => ({ model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }], ...more });

async function clientOf(farebox: Farebox, credits: number, token: Record<string, unknown> = {}): Promise<Client & { tokenId: string }> {
  const orgId = await farebox.createOrg();
  if (credits > 0) await farebox.grant(orgId, credits);
  const made = await farebox.createToken(orgId, token);
  return { farebox, orgId, token: made.secret, tokenId: made.id };
}

test.each([
  ['the credits are used up', 0, {}, 402, 'insufficient_quota'],
  ['the quota is too small', 100, { quota: 5 }, 402, 'token_quota_exceeded'],
  ['the model is not for this token', 100, { models: ['other-*'] }, 403, 'model_not_allowed'],
  ['the address is not for this token', 100, { ip_allow: ['10.1.2.3'] }, 403, 'ip_not_allowed'],
] as const)('when %s, the refusal is a row of the logs with its code, and costs nothing', async (_what, credits, token, status, code) => {
  const client = await clientOf(many, credits, token);
  const headers = { 'x-agent-id': 'sorter', 'x-conversation-id': 'talk-1' };
  const result = await post(client, CHAT, JSON.stringify(flat({ user: 'u-7', stream: true })), { headers }).end();
  expect([result.status, errorOf(result).code]).toEqual([status, code]);
  expect(await rowOf(many, client.orgId, requestIdOf(result))).toMatchObject({
    ...{
      status: 'rejected',
      http_status: status,
      model: 'fake-flat',
      stream: true,
      attempts: 0,
      token_id: client.tokenId,
      endpoint: '/chat/completions',
    },
    ...{ charged: { micro: 0 }, held: { micro: 0 }, refusal: { code, unlisted: 0 }, flags: [code] },
    ...{ agent: 'sorter', conversation: 'talk-1', end_user: 'u-7' },
  });
  expect(await quiet(many, client.orgId)).toMatchObject({ available: credits * 1_000_000, inFlight: 0, pending: 0 });
});

test('who asks too often finds it in the logs, between the requests that were served', async () => {
  const client = await clientOf(many, 100, { rate: { rpm: 2 } });
  const results: Result[] = [];
  for (let i = 0; i < 4; i++) results.push(await post(client, CHAT, JSON.stringify(flat())).end());
  expect(results.map(({ status }) => status)).toEqual([200, 200, 429, 429]);
  const told = (name: string) => results.at(-1)?.headers.get(`x-ratelimit-${name}-requests`);
  expect([told('limit'), told('remaining'), told('reset')]).toEqual(['2', '0', expect.stringMatching(/^(?:\d+m)?[\d.]+m?s$/)]);
  const rows = await Promise.all(results.map(async (result) => (await rowOf(many, client.orgId, requestIdOf(result))) as Refused));
  expect(rows.map(({ status, refusal }) => [status, refusal?.code ?? null])).toEqual([
    ['complete', null],
    ['complete', null],
    ['rejected', 'rate_limit_exceeded'],
    ['rejected', 'rate_limit_exceeded'],
  ]);
  const { body } = await many.api('GET', `/api/v1/orgs/${client.orgId}/logs?include=totals`);
  expect(body['totals']).toMatchObject({ requests: 4, errors: 2, charged: { micro: 20_000_000 } });
  expect(await many.logs(client.orgId, '?status=rejected')).toHaveLength(2);
});

test('a request that cannot be read is a row of its token; one whose token nobody knows is none of anybody', async () => {
  const client = await clientOf(many, 100);
  const result = await post(client, CHAT, '{"model": "fake-flat", ').end();
  expect(result.status).toBe(400);
  expect(await rowOf(many, client.orgId, requestIdOf(result))).toMatchObject({
    status: 'rejected',
    model: 'unknown',
    refusal: { code: 'invalid_json' },
  });
  const stranger = await post({ ...client, token: `${client.token.slice(0, -1)}x` }, CHAT, JSON.stringify(flat())).end();
  expect(stranger.status).toBe(401);
  await new Promise((go) => setTimeout(go, 1_500));
  expect(await many.logs(client.orgId)).toHaveLength(1);
});

test('a refusal is told live, as one more request that cost nothing', async () => {
  const client = await clientOf(many, 0);
  const stream = await fetch(`${many.url}/api/v1/orgs/${client.orgId}/events?types=request.settled`, {
    headers: { authorization: `Bearer ${many.operatorKey}` },
  });
  const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
  await reader?.read();
  const result = await post(client, CHAT, JSON.stringify(flat())).end();
  let text = '';
  while (!text.includes('request.settled')) text += (await reader?.read())?.value ?? '';
  await reader?.cancel();
  const told = JSON.parse(/data: (.*)/.exec(text.slice(text.indexOf('request.settled')))?.[1] ?? '{}') as Record<string, unknown>;
  expect(told).toMatchObject({ request_id: requestIdOf(result), status: 'rejected', http_status: 402, charged: { micro: 0 } });
});

test('five thousand refusals leave a few rows, which add up to all of them, and the books stay clean', async () => {
  const client = await clientOf(alone, 100, { rate: { rpm: 1 } });
  expect((await post(client, CHAT, JSON.stringify(flat())).end()).status).toBe(200);
  const crowd = sendCrowd({ url: `${alone.url}${CHAT}`, tokens: [client.token], count: 5_000, body: JSON.stringify(flat()) });
  const statuses = await crowd.statuses();
  const told = statuses['429 rate_limit_exceeded'] ?? 0;
  expect(told).toBeGreaterThan(1_000);
  const served = 1 + (statuses[200] ?? 0);
  const refused = await eventually('the first rows', async () => {
    const rows = await alone.logs(client.orgId, '?limit=200&status=rejected');
    return rows.length > 0 ? rows : undefined;
  });
  expect(refused.length).toBeLessThan(100);
  expect((await quiet(alone, client.orgId)).available).toBe(100_000_000 - served * 10_000_000);
  alone = await alone.restart();
  const rows = (await alone.logs(client.orgId, '?limit=200&status=rejected')) as unknown as Refused[];
  expect(rows.length).toBeLessThan(100);
  expect(rows.reduce((sum, { refusal }) => sum + 1 + (refusal?.unlisted ?? 0), 0)).toBe(told);
  await expectCleanBooks(alone, []);
  await expectCleanBooks(many, []);
});
