import { describe, expect, test } from 'vitest';
import { managementKey, member, person } from './cast.js';
import { pointers, useApi } from './harness.js';

const api = useApi();
const LONG_AGO = { authenticatedAt: new Date(Date.now() - 3_600_000) };

describe('Idempotency-Key', () => {
  const path = (org: string) => `/api/v1/orgs/${org}/meter-events`;

  test('400 names the header where it is missing; 422 when it comes with something else', async () => {
    const org = await api.org();
    const { as } = await managementKey(api, org, 'meter:write');
    const events = [{ event_id: 'e1', action: 'nothing', quantity: 1 }];
    const missing = await api.call('POST', path(org), { events }, as);
    expect([missing.status, pointers(missing)]).toEqual([400, ['Idempotency-Key']]);
    const wrong = await api.call('POST', path(org), { events }, { ...as, 'idempotency-key': 'k' });
    expect([wrong.status, pointers(wrong)], 'what was refused as wrong leaves the key free').toEqual([400, ['/events/0/action']]);
    const writer = await managementKey(api, org, 'tokens:write');
    const send = (name: string) => api.call('POST', `/api/v1/orgs/${org}/tokens`, { name }, { ...writer.as, 'idempotency-key': 'same' });
    expect([(await send('a')).status, (await send('a')).status, (await send('b')).body['code']]).toEqual([
      201,
      201,
      'idempotency_mismatch',
    ]);
  });

  test('the documented calls of the operator go on without', async () => {
    const org = await api.org();
    expect((await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x' })).status).toBe(201);
    expect((await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 1, reason: 'x' })).status).toBe(201);
  });
});

describe('people of the operator', () => {
  const grant = (org: string, as: Record<string, string>, key = 'once') =>
    api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 3, reason: 'goodwill' }, { ...as, 'idempotency-key': key });

  test('finance adds credits under its own name, support does not', async () => {
    const org = await api.org();
    const finance = await person(api, { operatorRole: 'operator.finance' });
    const support = await person(api, { operatorRole: 'operator.support' });
    const first = await grant(org, finance.as);
    expect([first.status, (await grant(org, finance.as)).body['id']]).toEqual([201, first.body['id']]);
    const no = await grant(org, support.as);
    expect([no.status, no.body['required_permission']]).toEqual([403, 'operator.finance']);
    const lines = await api.call('GET', `/api/v1/admin/audit?org_id=${org}&action=grant.create`, undefined, support.as);
    expect((lines.body['data'] as unknown as { actor: string }[]).map(({ actor }) => actor)).toEqual([`person:${finance.id}`]);
    expect((await api.call('GET', `/api/v1/orgs/${org}/balance`, undefined, support.as)).body['settled']).toMatchObject({ credits: '3' });
  });

  test('an organization that does not exist is told to them, as they may see all there are', async () => {
    const support = await person(api, { operatorRole: 'operator.support' });
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/balance', undefined, support.as)).status).toBe(404);
    expect((await api.call('POST', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/tokens', {}, support.as)).status).toBe(403);
  });
});

describe('owners', () => {
  test('are made and unmade by people who have just shown that it is them', async () => {
    const org = await api.org();
    const [stale, fresh] = [await member(api, org, 'owner', LONG_AGO), await member(api, org, 'owner')];
    const viewer = await member(api, org, 'viewer');
    const change = (who: string, role_id: string, as: Record<string, string>) =>
      api.call('PATCH', `/api/v1/orgs/${org}/members/${who}`, { role_id }, as);
    const codes: unknown[] = [];
    codes.push((await change(viewer.id, 'owner', stale.as)).body['code']);
    codes.push((await change(fresh.id, 'viewer', stale.as)).body['code']);
    codes.push((await api.call('DELETE', `/api/v1/orgs/${org}/members/${fresh.id}?tokens=keep`, undefined, stale.as)).body['code']);
    expect(codes).toEqual(['step_up_required', 'step_up_required', 'step_up_required']);
    expect((await change(viewer.id, 'developer', stale.as)).status, 'anybody else without').toBe(200);
    expect((await change(viewer.id, 'owner', fresh.as)).status).toBe(200);
    expect((await change(stale.id, 'viewer', fresh.as)).status).toBe(200);
  });

  test('are nothing for a key to make, whatever its scopes', async () => {
    const org = await api.org();
    const viewer = await member(api, org, 'viewer');
    const { as } = await managementKey(api, org, 'members:write', 'usage:read', 'logs:read', 'balance:read', 'tokens:write');
    const change = (role_id: string) => api.call('PATCH', `/api/v1/orgs/${org}/members/${viewer.id}`, { role_id }, as);
    expect([(await change('owner')).body['code'], (await change('admin')).body['code']]).toEqual(['beyond_own_role', 'beyond_own_role']);
    expect((await change('developer')).status).toBe(200);
  });
});

test('the audit log of an organization is its own lines, newest first, page by page', async () => {
  const [org, other] = [await api.org(), await api.org()];
  const admin = await member(api, org, 'admin');
  await api.token(org);
  await api.token(other);
  const path = `/api/v1/orgs/${org}/audit`;
  const first = await api.call('GET', `${path}?limit=1`, undefined, admin.as);
  const second = await api.call('GET', `${path}?limit=1&cursor=${String(first.body['next_cursor'])}`, undefined, admin.as);
  const lines = [first, second].flatMap(({ body }) => body['data'] as unknown as { action: string; org_id: string }[]);
  expect(lines.map(({ action, org_id }) => [action, org_id])).toEqual([
    ['token.create', org],
    ['org.create', org],
  ]);
  expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/audit')).status).toBe(404);
});
