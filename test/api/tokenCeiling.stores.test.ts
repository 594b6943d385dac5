import { beforeEach, describe, expect, test } from 'vitest';
import { managementKey, member, type Somebody } from './cast.js';
import { pointers, type Reply, useApi } from './harness.js';

const api = useApi();
let org = '';
let owner: Somebody;
let developer: Somebody;

beforeEach(async () => {
  org = await api.org();
  owner = await member(api, org, 'owner');
  developer = await member(api, org, 'developer');
  const set = await api.call('PATCH', `/api/v1/orgs/${org}`, { max_token_quota: 50 }, owner.as);
  expect(set.body, set.text).toMatchObject({ max_token_quota: { credits: '50' } });
});

let asked = 0;
const make = (body: object, who: Somebody = developer) =>
  api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'one', ...body }, { ...who.as, 'idempotency-key': `k${++asked}` });
const change = (id: unknown, body: object, headers: Record<string, string> = developer.as) =>
  api.call('PATCH', `/api/v1/orgs/${org}/tokens/${id}`, body, headers);
const quota = (id: unknown, body: object, who: Somebody = developer) =>
  api.call('POST', `/api/v1/orgs/${org}/tokens/${id}/quota`, body, who.as);
const said = (reply: Reply): string => `${reply.status} ${pointers(reply)} ${reply.body['detail']}`;

describe('the ceiling for quotas of tokens', () => {
  test('a developer makes tokens up to it, and is told the field and the ceiling above it', async () => {
    expect((await make({ quota: 50 })).status).toBe(201);
    expect((await make({ quotas: { daily: 5, monthly: 50 } })).status).toBe(201);
    expect(said(await make({ quota: '50.000001' }))).toMatch(/^400 \/quota \/quota: At most 50 credits: .*max_token_quota/);
    expect(said(await make({ quota: { amount: 51, reset: 'daily' } }))).toMatch(/^400 \/quota\/amount .*50 credits/);
    expect(pointers(await make({ quotas: { daily: 51, weekly: 50, monthly: 60 } }))).toEqual(['/quotas/daily', '/quotas/monthly']);
    expect(said(await make({}))).toMatch(/^400 \/quota .*Give the token a quota of at most 50 credits/);
    const { body } = await api.call('GET', `/api/v1/orgs/${org}/tokens`, undefined, developer.as);
    expect((body['data'] as unknown as unknown[]).length).toBe(2);
  });

  test('raising, adding and lifting a quota are refused in the same way, and nothing of the change happens', async () => {
    const { body } = await make({ quota: 40 });
    const id = body['id'];
    expect(said(await change(id, { name: 'renamed', quota: 51 }))).toMatch(/^400 \/quota /);
    expect(said(await change(id, { quota: null }))).toMatch(/^400 \/quota /);
    expect(said(await change(id, { quotas: { total: null } }))).toMatch(/^400 \/quotas /);
    expect(said(await quota(id, { op: 'set', amount: 51 }))).toMatch(/^400 \/amount .*50 credits/);
    expect(said(await quota(id, { op: 'add', amount: 11 }))).toMatch(/^400 \/amount /);
    const added = await Promise.all([1, 2, 3].map(() => quota(id, { op: 'add', amount: 4 })));
    expect(added.map(({ status }) => status).sort()).toEqual([200, 200, 400]);
    const after = await api.call('GET', `/api/v1/orgs/${org}/tokens/${id}`, undefined, developer.as);
    expect(after.body).toMatchObject({ name: 'one', quota: { amount: { credits: '48' } } });
  });

  test('a management key is bound by it; whoever manages the organization is not', async () => {
    const key = await managementKey(api, org, 'tokens:write', 'limits:write');
    expect((await make({ quota: 51 }, key)).status).toBe(400);
    expect((await make({ quota: 51 }, owner)).status).toBe(201);
    expect((await make({}, owner)).status).toBe(201);
    expect((await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x', quota: 1000 })).status).toBe(201);
    expect((await api.call('PATCH', `/api/v1/orgs/${org}`, { max_token_quota: 1000 }, developer.as)).status).toBe(403);
  });

  test('what was above it before stays, may be lowered and renamed, but not raised', async () => {
    const { body } = await make({ quota: 45 });
    const id = body['id'];
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { max_token_quota: 10 });
    expect((await change(id, { name: 'kept' })).status).toBe(200);
    expect((await change(id, { quota: 46 })).status).toBe(400);
    expect((await change(id, { quota: 44 })).status).toBe(200);
    expect((await api.call('POST', `/api/v1/orgs/${org}/tokens/${id}/pause`, undefined, developer.as)).status).toBe(200);
    expect((await change(id, { quota: 10 })).status).toBe(200);
    expect((await change(id, { quota: 11 })).status).toBe(400);
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { max_token_quota: null });
    expect((await change(id, { quota: 9_999 })).status).toBe(200);
  });

  test('who comes too late is told that first; a repeated request gets the token it made before', async () => {
    const { body, headers } = await make({ quota: 5 });
    await change(body['id'], { name: 'changed' });
    const late = await change(body['id'], { quota: 51 }, { ...developer.as, 'if-match': String(headers.get('etag')) });
    expect([late.status, late.body['code']]).toEqual([412, 'changed_meanwhile']);
    const once = { ...developer.as, 'idempotency-key': 'the-same' };
    const send = () => api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'twice', quota: 30 }, once);
    const first = await send();
    expect(first.status).toBe(201);
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { max_token_quota: 10 });
    const again = await send();
    expect([again.status, again.body['id']]).toEqual([201, first.body['id']]);
  });

  test('the ETag of the organization changes with it', async () => {
    const before = await api.call('GET', `/api/v1/orgs/${org}`, undefined, owner.as);
    const etag = String(before.headers.get('etag'));
    expect((await api.call('PATCH', `/api/v1/orgs/${org}`, { max_token_quota: 60 }, { ...owner.as, 'if-match': etag })).status).toBe(200);
    expect((await api.call('PATCH', `/api/v1/orgs/${org}`, { max_token_quota: 70 }, { ...owner.as, 'if-match': etag })).status).toBe(412);
  });
});
