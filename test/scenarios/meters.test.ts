import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { errorOf, expectCleanBooks, post, quiet } from './books.js';

let upstream: up.Upstream;
let redis: RedisServer;
let database: TestDatabase;
let farebox: Farebox;

beforeAll(async () => {
  upstream = await up.startUpstream();
  redis = await startRedis();
  database = await freshDatabase(inject('databaseUrl'));
  farebox = await startFarebox({
    upstream: upstream.url,
    redisUrl: redis.url,
    databaseUrl: database.url,
    processes: 1,
    config: { meters: { kb_query: { per: 'query', price: 1 } } },
  });
});
afterAll(async () => {
  await farebox.stop();
  await database.drop();
  await Promise.all([redis.stop(), upstream.stop()]);
});

const chat = JSON.stringify({ model: 'fake-model', max_tokens: 20, messages: [{ role: 'user', content: 'Hi' }] });

test('what is metered elsewhere and what the gateway serves are paid from one balance, and never twice', async () => {
  const { orgId, tokenId, token } = await farebox.customer(20);
  const me = { farebox, orgId, token };
  const report = async (id: number, quantity: number): Promise<number> => {
    const events = [{ event_id: `e-${id}`, action: 'kb_query', quantity, token_id: tokenId }];
    const { status } = await farebox.api('POST', `/api/v1/orgs/${orgId}/meter-events`, { events });
    // Fifteen at once ask for more than there is, until it is known which of them were heard before.
    return status === 429 ? report(id, quantity) : status;
  };
  const [reports, served] = await Promise.all([
    Promise.all(Array.from({ length: 30 }, (_, i) => report(i % 15, 1))),
    Promise.all(Array.from({ length: 10 }, () => post(me, '/v1/chat/completions', chat).end())),
  ]);
  expect(new Set(reports)).toEqual(new Set([200]));
  expect(new Set(served.map(({ status }) => status))).toEqual(new Set([200]));
  const wallet = await quiet(farebox, orgId);
  const rows = await farebox.logs(orgId, '?limit=200');
  const charged = rows.reduce((sum, row) => sum + (row['charged'] as { micro: number }).micro, 0);
  expect(rows.filter((row) => row['endpoint'] === 'meter:kb_query')).toHaveLength(15);
  expect(wallet.available).toBe(20_000_000 - charged);
  expect(await report(100, 5)).toBe(402);
  await farebox.api('POST', `/api/v1/admin/orgs/${orgId}/grants`, { credits: 0.5, reason: 'to go on' });
  expect(await report(100, 5)).toBe(200);
  const refused = await post(me, '/v1/chat/completions', JSON.stringify({ ...JSON.parse(chat), max_tokens: 4_000 })).end();
  expect([refused.status, errorOf(refused).code]).toEqual([402, 'request_exceeds_balance']);
  await expectCleanBooks(farebox, [orgId]);
});

test('a quota used up by metered events stops the token at the gateway, which names the window', async () => {
  const { orgId } = await farebox.customer(100);
  const { id, secret } = await farebox.createToken(orgId, { quotas: { total: 50, weekly: 3 } });
  const events = [{ event_id: 'w', action: 'kb_query', quantity: 3, token_id: id }];
  expect((await farebox.api('POST', `/api/v1/orgs/${orgId}/meter-events`, { events })).status).toBe(200);
  const refused = await post({ farebox, orgId, token: secret }, '/v1/chat/completions', chat).end();
  expect(refused.status).toBe(402);
  const { code, message, metadata } = errorOf(refused);
  expect([code, metadata['window']]).toEqual(['token_quota_exceeded', 'weekly']);
  expect(message).toContain("This token's weekly quota");
  expect(Date.parse(String(metadata['resets_at']))).toBeGreaterThan(Date.now());
  const raised = await farebox.api('POST', `/api/v1/orgs/${orgId}/tokens/${id}/quota`, { op: 'add', amount: 5, window: 'weekly' });
  expect(raised.status).toBe(200);
  expect((await post({ farebox, orgId, token: secret }, '/v1/chat/completions', chat).end()).status).toBe(200);
  await expectCleanBooks(farebox, [orgId]);
});
