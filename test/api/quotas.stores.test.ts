import { describe, expect, test } from 'vitest';
import { rollWindows } from '../../src/ledger/windows.js';
import { pointers, useApi } from './harness.js';

const api = useApi();

async function quotasOf(tokenId: string) {
  const found = await api.store.lookup(tokenId as never);
  return found.kind === 'found' ? found.token.quotas : undefined;
}

/** A hold of a given amount, straight at the hot store. */
async function hold(org: string, tokenId: string, amount: number) {
  const known = await api.store.lookup(tokenId as never);
  if (known.kind !== 'found') throw new Error(known.kind);
  return api.store.hold({
    requestId: `req_019ab0f4c2d87c3ea1b2${Math.random().toString(16).slice(2, 14).padEnd(12, '0')}` as never,
    tokenId: tokenId as never,
    orgId: org as never,
    digest: known.token.digest,
    tokenVersion: known.token.version,
    orgVersion: known.org.version,
    amount: amount as never,
    tokens: 1,
    leaseMs: 20_000,
    note: '{}',
    idempotencyKey: null,
  });
}

describe('several quotas at once', () => {
  test('201: all of them are in force, and all are shown with when they start anew', async () => {
    const org = await api.org();
    const made = await api.call('POST', `/api/v1/orgs/${org}/tokens`, {
      name: 'app',
      quotas: { total: 100, daily: '1.5', monthly: 40 },
      project: 'search',
      agent_id: 'bot-7',
      critical: true,
    });
    expect(made.status, made.text).toBe(201);
    expect(made.body).toMatchObject({ project: 'search', agent_id: 'bot-7', critical: true });
    expect(made.body['quota']).toMatchObject({ amount: { credits: '100' }, reset: 'never', resets_at: null });
    expect(made.body['quotas']).toMatchObject({
      total: { remaining: { credits: '100' } },
      daily: { amount: { credits: '1.5' }, reset: 'daily' },
      weekly: null,
      monthly: { used: { micro: 0 } },
    });
    expect(await quotasOf(String(made.body['id']))).toEqual([
      { window: 'total', cap: 100_000_000 },
      { window: 'daily', cap: 1_500_000 },
      { window: 'monthly', cap: 40_000_000 },
    ]);
    const { body } = await api.call('GET', `/api/v1/orgs/${org}/tokens/${made.body['id']}`);
    const quotas = body['quotas'] as unknown as Record<string, { resets_at: string }>;
    expect(Date.parse(quotas['daily']?.resets_at ?? '')).toBeGreaterThan(Date.now());
  });

  test('a refusal names the window that ran out, and when it starts anew', async () => {
    const org = await api.org();
    await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 100, reason: 'test' });
    const token = await api.token(org, { quotas: { daily: 5, weekly: 3, total: 10 } });
    const [day] = await api.db.query<{ ends: Date }>("select week_end(now(), 'UTC') as ends");
    expect(await hold(org, token.id, 3_000_001)).toMatchObject({
      kind: 'short',
      scope: 'quota',
      window: 'weekly',
      resetsAtMs: day?.ends.getTime(),
    });
    expect(await hold(org, token.id, 10_000_001)).toMatchObject({ window: 'total', resetsAtMs: 0 });
    expect(await hold(org, token.id, 3_000_000)).toMatchObject({ kind: 'held' });
  });

  test('PATCH changes the windows that are named and leaves the others; null takes one or all away', async () => {
    const org = await api.org();
    const { id } = await api.token(org, { quotas: { total: 10, daily: 1 } });
    const patch = (body: unknown) => api.call('PATCH', `/api/v1/orgs/${org}/tokens/${id}`, body);
    await patch({ quotas: { daily: null, weekly: 2 } });
    expect(await quotasOf(id)).toEqual([
      { window: 'total', cap: 10_000_000 },
      { window: 'weekly', cap: 2_000_000 },
    ]);
    await patch({ quota: { amount: 4, reset: 'daily' } });
    expect(await quotasOf(id)).toEqual([{ window: 'daily', cap: 4_000_000 }]);
    await patch({ quotas: null });
    expect(await quotasOf(id)).toEqual([]);
  });

  test('400: quota and quotas together, unknown windows, wrong amounts', async () => {
    const org = await api.org();
    const make = (body: object) => api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x', ...body });
    expect(pointers(await make({ quota: 1, quotas: { daily: 1 } }))).toEqual(['/quotas']);
    expect(pointers(await make({ quotas: { hourly: 1 } }))).toEqual(['/quotas/hourly']);
    expect(pointers(await make({ quotas: { daily: -1, weekly: '1e3' } }))).toEqual(['/quotas/daily', '/quotas/weekly']);
  });
});

describe('POST /api/v1/orgs/{org}/tokens/{token}/quota', () => {
  test('200: fifty who add at once add fifty times, in force before the answer', async () => {
    const org = await api.org();
    const { id } = await api.token(org, { quota: 1 });
    const path = `/api/v1/orgs/${org}/tokens/${id}/quota`;
    const added = await Promise.all(Array.from({ length: 50 }, () => api.call('POST', path, { op: 'add', amount: '0.5' })));
    expect(new Set(added.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await quotasOf(id)).toEqual([{ window: 'total', cap: 26_000_000 }]);
  });

  test('200: set makes a quota, add raises the one there is; a window can be named', async () => {
    const org = await api.org();
    const { id } = await api.token(org);
    const path = `/api/v1/orgs/${org}/tokens/${id}/quota`;
    await api.call('POST', path, { op: 'set', amount: 5, window: 'weekly' });
    await api.call('POST', path, { op: 'add', amount: 2 });
    expect(await quotasOf(id)).toEqual([{ window: 'weekly', cap: 7_000_000 }]);
    await api.call('POST', path, { op: 'set', amount: 9, window: 'total' });
    expect(await quotasOf(id)).toEqual([
      { window: 'total', cap: 9_000_000 },
      { window: 'weekly', cap: 7_000_000 },
    ]);
    await api.call('POST', path, { op: 'add', amount: '999999999', window: 'weekly' });
    await api.call('POST', path, { op: 'add', amount: '999999999', window: 'weekly' });
    expect((await quotasOf(id))?.at(-1)).toEqual({ window: 'weekly', cap: 999_999_999_999_999 });
  });

  test('409, 412, 404, 400: nothing to add to, read too long ago, not there, not an amount', async () => {
    const org = await api.org();
    const { id } = await api.token(org);
    const path = `/api/v1/orgs/${org}/tokens/${id}/quota`;
    const none = await api.call('POST', path, { op: 'add', amount: 1 });
    expect([none.status, none.body['code']]).toEqual([409, 'quota_unlimited']);
    const etag = (await api.call('GET', `/api/v1/orgs/${org}/tokens/${id}`)).headers.get('etag') ?? '';
    const set = () => api.call('POST', path, { op: 'set', amount: 3 }, { 'if-match': etag });
    expect([(await set()).status, (await set()).status]).toEqual([200, 412]);
    expect((await api.call('POST', path.replace(org, await api.org()), { op: 'set', amount: 1 })).status).toBe(404);
    expect(pointers(await api.call('POST', path, { op: 'take', amount: -1, window: 'yearly' }))).toEqual(['/amount', '/op', '/window']);
  });
});

test('a window that has ended starts anew in the hot store as soon as the worker has looked', async () => {
  const org = await api.org();
  const { id } = await api.token(org, { quotas: { daily: 5 } });
  const nowMs = Date.now() + 36 * 3_600_000;
  expect(await rollWindows(api.db, { tokenId: id as never, nowMs })).toEqual([id]);
  expect(await api.deps.project.token(id as never)).toBe('projected');
  const [row] = await api.db.query<{ ends: Date }>('select daily_ends_at as ends from token_use where token_id = $1', [id]);
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 100, reason: 'test' });
  expect(await hold(org, id, 6_000_000)).toMatchObject({ window: 'daily', resetsAtMs: row?.ends.getTime() });
});
