import { describe, expect, test } from 'vitest';
import { SCOPE_NAMES } from '../../src/accounts/keys/scopes.js';
import { managementKey, member } from './cast.js';
import { pointers, useApi } from './harness.js';

const api = useApi();
const keys = (org: string): string => `/api/v1/orgs/${org}/management-keys`;
const bearer = (secret: unknown) => ({ authorization: `Bearer ${String(secret)}` });

describe('POST /api/v1/orgs/{org}/management-keys', () => {
  test('201: the secret is shown once, works at once, and is kept nowhere', async () => {
    const org = await api.org();
    const { as } = await member(api, org, 'admin');
    const made = await api.call('POST', keys(org), { name: 'billing sync', scopes: ['usage:read', 'balance:read', 'usage:read'] }, as);
    expect([made.status, made.text]).toEqual([201, expect.stringMatching(/"secret":"mk-fb-[0-9A-Za-z]{14}-[0-9A-Za-z]{38}"/)]);
    const secret = String(made.body['secret']);
    expect(made.body).toMatchObject({ display: `mk-fb-…${secret.slice(-4)}`, scopes: ['usage:read', 'balance:read'], status: 'active' });
    expect((await api.call('GET', `/api/v1/orgs/${org}/balance`, undefined, bearer(secret))).status).toBe(200);
    const kept = await api.db.one<{ all: string }>(
      'select (select json_agg(k)::text from management_keys k) || (select json_agg(a)::text from audit_log a) as all',
    );
    expect(kept?.all).toContain(String(made.body['id']));
    expect(kept?.all).not.toContain(secret.slice(-30));
    expect((await api.call('GET', `${keys(org)}/${String(made.body['id'])}`)).text).not.toContain(secret.slice(-30));
  });

  test('201 again, with the same secret, when the request is repeated with its Idempotency-Key', async () => {
    const org = await api.org();
    const send = (scopes: string[]) => api.call('POST', keys(org), { name: 'x', scopes }, { 'idempotency-key': 'once' });
    const [first, second] = [await send(['logs:read']), await send(['logs:read'])];
    expect(second.body).toEqual(first.body);
    expect((await send(['tokens:read'])).status).toBe(422);
  });

  test('400: no scope, an unknown one, an end in the past', async () => {
    const org = await api.org();
    for (const body of [
      { name: 'x', scopes: [] },
      { name: 'x', scopes: ['everything'] },
      { name: 'x', scopes: ['logs:read'], expires_at: '2020-01-01T00:00:00Z' },
      { scopes: ['logs:read'] },
    ])
      expect((await api.call('POST', keys(org), body)).status, JSON.stringify(body)).toBe(400);
    expect(pointers(await api.call('POST', keys(org), { name: 'x', scopes: ['nope'] }))).toEqual(['/scopes/0']);
  });

  test('403: nobody makes a key that may do more than they may', async () => {
    const org = await api.org();
    const { as } = await member(api, org, ['org.manage', 'logs.read']);
    expect((await api.call('POST', keys(org), { name: 'x', scopes: ['logs:read'] }, as)).status).toBe(201);
    const beyond = await api.call('POST', keys(org), { name: 'x', scopes: ['logs:read', 'tokens:write'] }, as);
    expect([beyond.status, beyond.body['code']]).toEqual([403, 'beyond_own_role']);
    const all = await api.call('POST', keys(org), { name: 'all', scopes: SCOPE_NAMES });
    const id = String(all.body['id']);
    expect((await api.call('POST', `${keys(org)}/${id}/rotate`, {}, as)).body['code'], 'a new secret of it neither').toBe(
      'beyond_own_role',
    );
    expect((await api.call('PATCH', `${keys(org)}/${id}`, { scopes: ['tokens:write'] }, as)).body['code']).toBe('beyond_own_role');
  });

  test('403: without a proof of the last ten minutes, for making, changing and rotating', async () => {
    const org = await api.org();
    const stale = await member(api, org, 'owner', { authenticatedAt: new Date(Date.now() - 10 * 60_000 - 1_000) });
    const fresh = await member(api, org, 'owner', { authenticatedAt: new Date(Date.now() - 9 * 60_000) });
    const { id } = await managementKey(api, org, 'logs:read');
    for (const [method, path, body] of [
      ['POST', keys(org), { name: 'x', scopes: ['logs:read'] }],
      ['PATCH', `${keys(org)}/${id}`, { name: 'y' }],
      ['POST', `${keys(org)}/${id}/rotate`, {}],
    ] as const) {
      expect((await api.call(method, path, body, stale.as)).body['code'], path).toBe('step_up_required');
      expect((await api.call(method, path, body, fresh.as)).status, path).toBeLessThan(300);
    }
    expect((await api.call('DELETE', `${keys(org)}/${id}`, undefined, stale.as)).status, 'ending one needs no proof').toBe(200);
  });
});

describe('the life of a key', () => {
  test('after a rotation the old secret works as long as it was given, and not without', async () => {
    const org = await api.org();
    const { id, secret } = await managementKey(api, org, 'balance:read');
    const balance = (one: string) => api.call('GET', '/api/v1/balance', undefined, bearer(one));
    const next = await api.call('POST', `${keys(org)}/${id}/rotate`, { grace_seconds: 60 });
    expect([(await balance(secret)).status, (await balance(String(next.body['secret']))).status]).toEqual([200, 200]);
    await api.db.query("update management_keys set grace_ends_at = now() - interval '1 second' where key_id = $1", [id]);
    expect((await balance(secret)).status).toBe(401);
    const last = await api.call('POST', `${keys(org)}/${id}/rotate`, {});
    expect([(await balance(String(next.body['secret']))).status, (await balance(String(last.body['secret']))).status]).toEqual([401, 200]);
  });

  test('other scopes, and the end, count from the very next call', async () => {
    const org = await api.org();
    const { id, as } = await managementKey(api, org, 'balance:read');
    const balance = () => api.call('GET', '/api/v1/balance', undefined, as);
    expect((await balance()).status).toBe(200);
    await api.call('PATCH', `${keys(org)}/${id}`, { scopes: ['logs:read'] });
    expect([(await balance()).status, (await balance()).body['required_scope']]).toEqual([403, 'balance:read']);
    await api.call('PATCH', `${keys(org)}/${id}`, { scopes: ['balance:read'] });
    expect((await balance()).status).toBe(200);
    expect((await api.call('DELETE', `${keys(org)}/${id}`)).body['status']).toBe('revoked');
    expect((await balance()).status).toBe(401);
    expect((await api.call('POST', `${keys(org)}/${id}/rotate`, {})).body['code']).toBe('key_revoked');
    expect((await api.call('DELETE', `${keys(org)}/${id}`)).status, 'twice is the same as once').toBe(200);
  });

  test('one that has expired is told so', async () => {
    const org = await api.org();
    const { id, as } = await managementKey(api, org, 'balance:read');
    await api.db.query("update management_keys set expires_at = now() - interval '1 second' where key_id = $1", [id]);
    const reply = await api.call('GET', '/api/v1/balance', undefined, as);
    expect([reply.status, reply.body['detail']]).toEqual([401, expect.stringContaining('expired')]);
    expect((await api.call('GET', `${keys(org)}/${id}`)).body['status']).toBe('expired');
  });

  test('when it was last used is known to the minute', async () => {
    const org = await api.org();
    const { id, as } = await managementKey(api, org, 'balance:read');
    const used = async () => (await api.call('GET', `${keys(org)}/${id}`)).body['last_used_at'] as unknown;
    expect(await used()).toBeNull();
    await api.call('GET', '/api/v1/balance', undefined, as);
    const first = await used();
    expect(Date.parse(String(first))).toBeGreaterThan(Date.now() - 10_000);
    await api.call('GET', '/api/v1/balance', undefined, as);
    expect(await used()).toBe(first);
  });

  test('a wrong check digit costs no look-up', async () => {
    const { secret } = await managementKey(api, await api.org(), 'balance:read');
    const wrong = secret.slice(0, -1) + (secret.endsWith('a') ? 'b' : 'a');
    expect((await api.call('GET', '/api/v1/balance', undefined, bearer(wrong))).status).toBe(401);
  });
});

test('the list pages through all keys, newest first, and those of others are not there', async () => {
  const [org, other] = [await api.org(), await api.org()];
  const made: string[] = [];
  for (let i = 0; i < 3; i++) made.unshift((await managementKey(api, org, 'logs:read')).id);
  const { id: foreign } = await managementKey(api, other, 'logs:read');
  const first = await api.call('GET', `${keys(org)}?limit=2`);
  const second = await api.call('GET', `${keys(org)}?limit=2&cursor=${String(first.body['next_cursor'])}`);
  const ids = [first, second].flatMap(({ body }) => (body['data'] as unknown as { id: string }[]).map(({ id }) => id));
  expect(ids).toEqual(made);
  const [theirs, nobodys] = [await api.call('GET', `${keys(org)}/${foreign}`), await api.call('GET', `${keys(org)}/key_00000000000000`)];
  const plain = (text: string) => text.replace(/req_[0-9a-f]{32}/, '');
  expect([theirs.status, plain(theirs.text)]).toEqual([404, plain(nobodys.text)]);
});
