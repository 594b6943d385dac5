import { expect, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import { managementKey, member, person } from './cast.js';
import { pointers, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();

const own = (id: string) => `/api/v1/orgs/${id}`;
async function hold(org: string, token: string): Promise<void> {
  const known = await api.store.lookup(token as never);
  if (known.kind !== 'found') throw new Error(known.kind);
  const { digest, version: tokenVersion } = known.token;
  const ids = { requestId: newRequestId(), tokenId: token as never, orgId: org as never, amount: 1_000_000 as never };
  const held = await api.store.hold({
    ...{ ...ids, digest, tokenVersion, orgVersion: known.org.version },
    ...{ tokens: 1, leaseMs: 20_000, note: '{}', idempotencyKey: null },
  });
  expect(held.kind).toBe('held');
}

const linesOf = async (id: string): Promise<Record<string, unknown>[]> =>
  (await api.call('GET', `/api/v1/admin/audit?org_id=${id}`)).body['data'] as unknown as Record<string, unknown>[];

test('an owner and an admin rename their organization and move its time zone; a viewer does not', async () => {
  const id = await api.org('Before');
  const [owner, admin, viewer] = [await member(api, id, 'owner'), await member(api, id, 'admin'), await member(api, id, 'viewer')];
  const renamed = await api.call('PATCH', own(id), { name: 'After', time_zone: 'Asia/Kolkata' }, owner.as);
  expect([renamed.status, renamed.body['name'], renamed.body['time_zone']]).toEqual([200, 'After', 'Asia/Kolkata']);
  const etag = String(renamed.headers.get('etag'));
  expect((await api.call('PATCH', own(id), { name: 'By the admin' }, { ...admin.as, 'if-match': etag })).status).toBe(200);
  const late = await api.call('PATCH', own(id), { name: 'Too late' }, { ...owner.as, 'if-match': etag });
  expect([late.status, late.body['code']]).toEqual([412, 'changed_meanwhile']);
  expect((await api.call('PATCH', own(id), { name: 'No' }, viewer.as)).status).toBe(403);
  const wrong = await api.call('PATCH', own(id), { overdraft: 5, status: 'active', name: '', time_zone: 'Mars' }, owner.as);
  expect(pointers(wrong)).toEqual(['/name', '/overdraft', '/status', '/time_zone']);
  expect((await linesOf(id))[0]).toMatchObject({
    action: 'org.update',
    actor: `person:${admin.id}`,
    details: { after: { name: 'By the admin' } },
  });
});

test('a person makes a further organization, owns it and gets no credits for it', async () => {
  const me = await person(api);
  const key = { 'idempotency-key': 'mine' };
  const both = await Promise.all([1, 2].map(() => api.call('POST', '/api/v1/orgs', { name: 'Mine' }, { ...me.as, ...key })));
  expect(both.map(({ status }) => status)).toEqual([201, 201]);
  const id = String(both[0]?.body['id']);
  expect(both[1]?.body['id']).toBe(id);
  expect(both[0]?.body).toMatchObject({ kind: 'team', status: 'active', time_zone: 'UTC', closed_at: null });
  const balance = await api.call('GET', `${own(id)}/balance`, undefined, me.as);
  expect([balance.status, (balance.body['available'] as unknown as { micro: number }).micro]).toEqual([200, 0]);
  const mine = (await api.call('GET', '/api/v1/me', undefined, me.as)).body['organizations'] as unknown as {
    id: string;
    role: { id: string };
  }[];
  expect(mine.map((one) => [one.id, one.role.id])).toEqual([[id, 'owner']]);
  expect((await api.call('POST', '/api/v1/orgs', { name: 'Other' }, { ...me.as, ...key })).body['code']).toBe('idempotency_mismatch');
});

test('of many made at the same moment twenty stand', async () => {
  const me = await person(api);
  const made = await Promise.all(Array.from({ length: 30 }, (_, n) => api.call('POST', '/api/v1/orgs', { name: `Org ${n}` }, me.as)));
  expect(made.filter(({ status }) => status === 201)).toHaveLength(20);
  expect(new Set(made.filter(({ status }) => status !== 201).map(({ status, body }) => `${status} ${body['code']}`))).toEqual(
    new Set(['409 too_many_orgs']),
  );
});

test('an owner closes an organization: tokens, keys and memberships end at once, the books stay', async () => {
  const id = await api.org('To be closed');
  const [owner, viewer] = [await member(api, id, 'owner'), await member(api, id, 'viewer')];
  const key = await managementKey(api, id, 'balance:read');
  const token = await api.token(id);
  await api.call('POST', `/api/v1/admin/orgs/${id}/grants`, { credits: 7, reason: 'test' });
  expect((await api.call('DELETE', own(id), undefined, (await member(api, id, 'admin')).as)).status).toBe(403);
  const closed = await api.call('DELETE', own(id), undefined, owner.as);
  expect([closed.status, closed.body['tokens'], closed.body['management_keys'], closed.body['members']]).toEqual([200, 1, 1, 3]);
  expect(closed.body['balance']).toMatchObject({ credits: '7' });
  for (const as of [owner.as, viewer.as]) expect((await api.call('GET', `${own(id)}/balance`, undefined, as)).status).toBe(404);
  expect((await api.call('GET', `${own(id)}/balance`, undefined, key.as)).status).toBe(401);
  expect((await api.call('GET', '/api/v1/me', undefined, owner.as)).body['organizations']).toEqual([]);
  expect(await api.store.lookup(token.id as never)).toMatchObject({
    kind: 'found',
    org: { status: 'suspended' },
    token: { status: 'revoked' },
  });
  const seen = await api.call('GET', `/api/v1/admin/orgs/${id}`);
  expect(seen.body).toMatchObject({ status: 'suspended', wallet: { booked: { credits: '7' } } });
  expect(seen.body['closed_at']).not.toBeNull();
  expect((await linesOf(id))[0]).toMatchObject({ action: 'org.close', actor: `person:${owner.id}`, details: { tokens: 1, keys: 1 } });
  const again = await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { status: 'active' });
  expect(again.body['closed_at']).toBeNull();
  expect((await api.call('GET', `${own(id)}/balance`, undefined, owner.as)).status).toBe(200);
});

test('what owes, what has requests running and what came with an account is not closed', async () => {
  const id = await api.org('Not yet');
  const token = await api.token(id);
  const owner = await member(api, id, 'owner');
  const close = async () => api.call('DELETE', own(id), undefined, owner.as);
  await post(
    api.db,
    requestOf({ org: id, token: token.id, atMs: Date.now(), input: 0, output: 1, rates: { input: '0', output: '2000000' } }),
  );
  const owing = await close();
  expect([owing.status, owing.body['code']]).toEqual([409, 'debt_open']);
  expect(String(owing.body['detail'])).toContain('owes 2 credits');
  await api.call('POST', `/api/v1/admin/orgs/${id}/grants`, { credits: 10, reason: 'test' });
  await hold(id, token.id);
  const running = await close();
  expect([running.status, running.body['code']]).toEqual([409, 'requests_running']);
  const home = await api.org('Home');
  await api.db.query("update organizations set kind = 'personal' where org_id = $1", [home]);
  expect((await api.call('DELETE', own(home), undefined, (await member(api, home, 'owner')).as)).body['code']).toBe(
    'personal_organization',
  );
  expect((await api.call('GET', own(home))).body['status']).toBe('active');
});
