import { describe, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import { managementKey, member, person } from './cast.js';
import { pointers, useApi } from './harness.js';

const api = useApi();
const KEYS = '/api/v1/admin/operator-keys';
const bearer = (secret: unknown) => ({ authorization: `Bearer ${String(secret)}` });

async function keyOf(
  role: string,
  more: Record<string, unknown> = {},
): Promise<{ id: string; secret: string; as: Record<string, string> }> {
  const made = await api.call('POST', KEYS, { name: `a key of ${role}`, role, ...more });
  expect(made.status, made.text).toBe(201);
  const secret = String(made.body['secret']);
  return { id: String(made.body['id']), secret, as: bearer(secret) };
}

describe('POST /api/v1/admin/operator-keys', () => {
  test('201: the secret is shown once, works at once, and is kept nowhere', async () => {
    const { id, secret, as } = await keyOf('operator.support');
    expect(secret).toMatch(/^ok-fb-[0-9A-Za-z]{14}-[0-9A-Za-z]{38}$/);
    expect((await api.call('GET', '/api/v1/admin/orgs', undefined, as)).status).toBe(200);
    const kept = await api.db.one<{ all: string }>(
      'select (select json_agg(k)::text from operator_keys k) || (select json_agg(a)::text from audit_log a) as all',
    );
    expect(kept?.all).toContain(id);
    expect(kept?.all).not.toContain(secret.slice(-30));
    const read = await api.call('GET', `${KEYS}/${id}`);
    expect(read.body).toMatchObject({ display: `ok-fb-…${secret.slice(-4)}`, role: 'operator.support', ip_allow: null, status: 'active' });
    expect(read.text + (await api.call('GET', KEYS)).text).not.toContain(secret.slice(-30));
  });

  test('201 again, with the same secret, when the request is repeated with its Idempotency-Key', async () => {
    const send = (name: string) => api.call('POST', KEYS, { name, role: 'operator.finance' }, { 'idempotency-key': 'once' });
    const [first, second] = [await send('a'), await send('a')];
    expect(second.body).toEqual(first.body);
    expect((await send('b')).status).toBe(422);
  });

  test('400 names what is wrong', async () => {
    for (const [body, pointer] of [
      [{ name: 'x', role: 'root' }, '/role'],
      [{ role: 'operator.admin' }, '/name'],
      [{ name: 'x', role: 'operator.admin', ip_allow: ['everywhere'] }, '/ip_allow/0'],
      [{ name: 'x', role: 'operator.admin', ip_allow: [] }, '/ip_allow'],
      [{ name: 'x', role: 'operator.admin', expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
    ] as const)
      expect(pointers(await api.call('POST', KEYS, body)), JSON.stringify(body)).toEqual([pointer]);
  });

  test('403: for people only with a proof of the last ten minutes, and only for operator.admin', async () => {
    const stale = await person(api, { operatorRole: 'operator.admin', authenticatedAt: new Date(Date.now() - 601_000) });
    const fresh = await person(api, { operatorRole: 'operator.admin' });
    const finance = await person(api, { operatorRole: 'operator.finance' });
    const send = (as: Record<string, string>) => api.call('POST', KEYS, { name: 'x', role: 'operator.support' }, as);
    expect((await send(stale.as)).body['code']).toBe('step_up_required');
    expect((await send(finance.as)).body['required_permission']).toBe('operator.keys');
    const made = await send(fresh.as);
    expect([made.status, made.body['created_by']]).toEqual([201, `person:${fresh.id}`]);
  });

  // A stolen key must not leave another one behind.
  test('403: a key that was made makes, lists and ends no keys, whatever its role', async () => {
    const { id, as } = await keyOf('operator.admin');
    for (const [method, path, body] of [
      ['POST', KEYS, { name: 'x', role: 'operator.admin' }],
      ['GET', KEYS, undefined],
      ['GET', `${KEYS}/${id}`, undefined],
      ['POST', `${KEYS}/${id}/rotate`, {}],
      ['DELETE', `${KEYS}/${id}`, undefined],
    ] as const) {
      const reply = await api.call(method, path, body, as);
      expect([reply.status, reply.body['code']], path).toEqual([403, 'wrong_credential']);
    }
  });
});

// C6: every key of the operator may what its role may, and nothing else.
test('a key may do what people with its role may', async () => {
  const org = await api.org();
  const [admin, support, finance] = [await keyOf('operator.admin'), await keyOf('operator.support'), await keyOf('operator.finance')];
  const grant = (as: Record<string, string>) =>
    api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 1, reason: 'test' }, as).then(({ status }) => status);
  expect([await grant(admin.as), await grant(support.as), await grant(finance.as)]).toEqual([201, 403, 201]);
  const token = (as: Record<string, string>) =>
    api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x' }, as).then(({ status }) => status);
  expect([await token(admin.as), await token(support.as), await token(finance.as)]).toEqual([201, 403, 403]);
  const balance = (as: Record<string, string>) =>
    api.call('GET', `/api/v1/orgs/${org}/balance`, undefined, as).then(({ status }) => status);
  expect([await balance(admin.as), await balance(support.as), await balance(finance.as)]).toEqual([200, 200, 200]);
  expect((await api.call('GET', '/api/v1/me', undefined, admin.as)).status, 'it is nobody').toBe(403);
  const lines = await api.call('GET', `/api/v1/admin/audit?org_id=${org}&action=grant.create`);
  const actors = (lines.body['data'] as unknown as { actor: string }[]).map(({ actor }) => actor).sort();
  expect(actors).toEqual([`operator:${admin.id}`, `operator:${finance.id}`].sort());
});

describe('the life of a key', () => {
  const works = (as: Record<string, string>) => api.call('GET', '/api/v1/admin/orgs', undefined, as).then(({ status }) => status);

  test('after a rotation the old secret works as long as it was given, and not without', async () => {
    const { id, as } = await keyOf('operator.support');
    const next = await api.call('POST', `${KEYS}/${id}/rotate`, { grace_seconds: 60 });
    expect([await works(as), await works(bearer(next.body['secret']))]).toEqual([200, 200]);
    const last = await api.call('POST', `${KEYS}/${id}/rotate`, {});
    expect([await works(as), await works(bearer(next.body['secret'])), await works(bearer(last.body['secret']))]).toEqual([401, 401, 200]);
  });

  test('revoked it ends with the call before, for ever', async () => {
    const { id, as } = await keyOf('operator.admin');
    expect(await works(as)).toBe(200);
    expect((await api.call('DELETE', `${KEYS}/${id}`)).body['status']).toBe('revoked');
    expect(await works(as)).toBe(401);
    expect((await api.call('POST', `${KEYS}/${id}/rotate`, {})).body['code']).toBe('key_revoked');
    expect((await api.call('DELETE', `${KEYS}/${id}`)).status, 'twice is the same as once').toBe(200);
    expect((await api.call('DELETE', `${KEYS}/opk_00000000000000`)).status).toBe(404);
  });

  test('one that has expired is told so; when it was last used is known', async () => {
    const { id, as } = await keyOf('operator.support', { expires_at: new Date(Date.now() + 60_000).toISOString() });
    expect((await api.call('GET', `${KEYS}/${id}`)).body['last_used_at']).toBeNull();
    expect(await works(as)).toBe(200);
    expect((await api.call('GET', `${KEYS}/${id}`)).body['last_used_at']).not.toBeNull();
    await api.db.query("update operator_keys set expires_at = now() - interval '1 second' where operator_key_id = $1", [id]);
    const reply = await api.call('GET', '/api/v1/admin/orgs', undefined, as);
    expect([reply.status, reply.body['detail']]).toEqual([401, expect.stringContaining('expired')]);
  });

  test('lists are pages, newest first', async () => {
    const made = await keyOf('operator.support');
    const first = await api.call('GET', `${KEYS}?limit=1`);
    expect((first.body['data'] as unknown as { id: string }[])[0]?.id).toBe(made.id);
    const second = await api.call('GET', `${KEYS}?limit=1&cursor=${String(first.body['next_cursor'])}`);
    expect((second.body['data'] as unknown as { id: string }[])[0]?.id).not.toBe(made.id);
  });
});

describe('addresses', () => {
  const from = (address: string, as: Record<string, string>) => ({ ...as, 'x-forwarded-for': address });

  test('a key works from the addresses it was given, and is told so elsewhere', async () => {
    const { as } = await keyOf('operator.support', { ip_allow: ['192.0.2.0/24', '2001:db8::/32'] });
    const call = (address: string) => api.call('GET', '/api/v1/admin/orgs', undefined, from(address, as));
    expect([(await call('192.0.2.9')).status, (await call('2001:db8::1')).status]).toEqual([200, 200]);
    const elsewhere = await call('198.51.100.9');
    expect([elsewhere.status, elsewhere.body['code']]).toEqual([403, 'ip_not_allowed']);
    expect((await api.call('GET', '/api/v1/admin/orgs', undefined, as)).status, 'from nowhere').toBe(403);
  });

  test('so does the key of the data folder, where the configuration says from where', async () => {
    const app = createApi({ ...api.deps, operatorKeyIps: ['192.0.2.0/24'] });
    const org = await api.org();
    const call = async (path: string, address: string) =>
      (await app.request(`http://farebox.test${path}`, { headers: from(address, bearer(api.deps.operatorKey)) })).status;
    expect([await call('/api/v1/admin/orgs', '192.0.2.9'), await call('/api/v1/admin/orgs', '198.51.100.9')]).toEqual([200, 403]);
    const usage = `/v1/organization/usage/completions?start_time=1767225600`;
    const named = async (address: string) =>
      (
        await app.request(`http://farebox.test${usage}`, {
          headers: { ...from(address, bearer(api.deps.operatorKey)), 'x-organization': org },
        })
      ).status;
    expect([await named('192.0.2.9'), await named('198.51.100.9')]).toEqual([200, 403]);
  });
});

test('keys of other kinds, and people of an organization, see nothing of this', async () => {
  const org = await api.org();
  const owner = await member(api, org, 'owner');
  const key = await managementKey(api, org, 'members:write');
  for (const as of [owner.as, key.as]) expect((await api.call('GET', KEYS, undefined, as)).status).toBe(403);
});
