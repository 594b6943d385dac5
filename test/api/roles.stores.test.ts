import { describe, expect, test } from 'vitest';
import { PERMISSIONS } from '../../src/accounts/roles/permissions.js';
import { managementKey, member } from './cast.js';
import { useApi } from './harness.js';

const api = useApi();
const roles = (org: string): string => `/api/v1/orgs/${org}/roles`;

describe('roles of an organization', () => {
  test('200: the presets, and what they allow', async () => {
    const org = await api.org();
    await member(api, org, 'viewer');
    const { body } = await api.call('GET', roles(org));
    const data = body['data'] as unknown as { id: string; preset: boolean; permissions: string[]; members: number }[];
    expect(data.map(({ id, permissions, members }) => [id, permissions.length, members])).toEqual([
      ['owner', 16, 0],
      ['admin', 15, 0],
      ['billing', 7, 0],
      ['developer', 4, 0],
      ['viewer', 3, 1],
    ]);
    expect(data.every(({ preset }) => preset)).toBe(true);
    expect(body['permissions']).toEqual(PERMISSIONS);
  });

  test('201, 200, 200: made, changed and deleted, each in force for the very next call', async () => {
    const org = await api.org();
    const made = await api.call('POST', roles(org), { name: 'Auditor', permissions: ['logs.read', 'logs.read', 'credits.read'] });
    expect([made.status, made.body['permissions']]).toEqual([201, ['logs.read', 'credits.read']]);
    const id = String(made.body['id']);
    const auditor = await member(api, org, id);
    const logs = async () => (await api.call('GET', `/api/v1/orgs/${org}/logs`, undefined, auditor.as)).status;
    expect(await logs()).toBe(200);
    await api.call('PATCH', `${roles(org)}/${id}`, { permissions: ['credits.read'] });
    expect(await logs()).toBe(403);
    expect((await api.call('DELETE', `${roles(org)}/${id}`)).body['code']).toBe('role_in_use');
    await api.db.query('delete from org_members where person_id = $1', [auditor.id]);
    expect(await logs()).toBe(404);
    expect((await api.call('DELETE', `${roles(org)}/${id}`)).status).toBe(200);
    expect((await api.call('DELETE', `${roles(org)}/${id}`)).status).toBe(404);
  });

  test('403: nobody makes, widens or touches a role that allows more than their own', async () => {
    const org = await api.org();
    const { as } = await member(api, org, ['members.manage', 'logs.read']);
    const own = await api.call('POST', roles(org), { name: 'Mine', permissions: ['logs.read', 'logs.read_own'] }, as);
    expect(own.status).toBe(201);
    const wide = await api.call('POST', roles(org), { name: 'Wide', permissions: ['credits.read'] });
    for (const [method, path, body] of [
      ['POST', roles(org), { name: 'More', permissions: ['org.delete'] }],
      ['PATCH', `${roles(org)}/${String(own.body['id'])}`, { permissions: ['tokens.manage'] }],
      ['PATCH', `${roles(org)}/${String(wide.body['id'])}`, { name: 'Renamed' }],
      ['DELETE', `${roles(org)}/${String(wide.body['id'])}`, undefined],
    ] as const) {
      const reply = await api.call(method, path, body, as);
      expect([reply.status, reply.body['code']], path).toEqual([403, 'beyond_own_role']);
    }
    const key = await managementKey(api, org, 'members:write');
    expect((await api.call('POST', roles(org), { name: 'K', permissions: ['logs.read'] }, key.as)).body['code']).toBe('beyond_own_role');
  });

  test('404, 409: presets and roles of others cannot be changed, names are taken once', async () => {
    const [org, other] = [await api.org(), await api.org()];
    const theirs = String((await api.call('POST', roles(other), { name: 'Theirs', permissions: [] })).body['id']);
    for (const id of ['owner', 'viewer', theirs, 'role_00000000000000'])
      expect((await api.call('PATCH', `${roles(org)}/${id}`, { name: 'x' })).status, id).toBe(404);
    expect((await api.call('POST', roles(org), { name: 'Ops', permissions: [] })).status).toBe(201);
    expect((await api.call('POST', roles(org), { name: 'OPS', permissions: [] })).body['code']).toBe('name_taken');
    const second = String((await api.call('POST', roles(org), { name: 'Second', permissions: [] })).body['id']);
    const third = String((await api.call('POST', roles(org), { name: 'Third', permissions: [] })).body['id']);
    for (let round = 0; round < 10; round++) {
      const both = await Promise.all([second, third].map((id) => api.call('PATCH', `${roles(org)}/${id}`, { name: `Same ${round}` })));
      expect(both.map(({ status }) => status).sort(), both.map(({ text }) => text).join(' ')).toEqual([200, 409]);
    }
    expect((await api.call('PATCH', `${roles(org)}/${second}`, { name: 'ops' })).body['code']).toBe('name_taken');
    expect((await api.call('GET', roles('org_07AAAAAAAAAAAAAA'))).status).toBe(404);
  });
});

describe('who changes what they saw', () => {
  test('412: a role and a member that somebody else has changed meanwhile, shown as they are now', async () => {
    const org = await api.org();
    const { as } = await member(api, org, 'owner');
    const { id: developer } = await member(api, org, 'developer');
    const made = await api.call('POST', roles(org), { name: 'Seen', permissions: ['logs.read'] }, as);
    const role = `${roles(org)}/${String(made.body['id'])}`;
    const someone = `/api/v1/orgs/${org}/members/${developer}`;
    for (const [path, one, two] of [
      [role, { name: 'First' }, { name: 'Second' }],
      [someone, { monthly_quota: 5 }, { role_id: 'viewer' }],
    ] as const) {
      const read = await api.call('GET', path, undefined, as);
      const headers = { ...as, 'if-match': String(read.headers.get('etag')) };
      const first = await api.call('PATCH', path, one, headers);
      expect(first.status, first.text).toBe(200);
      const late = await api.call('PATCH', path, two, headers);
      expect([late.status, late.body['code']], path).toEqual([412, 'changed_meanwhile']);
      expect(late.body['current']).toEqual(first.body);
      expect(late.headers.get('etag')).toBe(first.headers.get('etag'));
      expect((await api.call('PATCH', path, two, { ...as, 'if-match': String(late.headers.get('etag')) })).status).toBe(200);
    }
    expect((await api.call('GET', someone, undefined, as)).body).toMatchObject({ role: { id: 'viewer' }, monthly_quota: { credits: '5' } });
    expect(made.headers.get('etag')).not.toBeNull();
  });

  test('a preset can be read by its name; what nobody belongs to cannot', async () => {
    const org = await api.org();
    expect((await api.call('GET', `${roles(org)}/viewer`)).body).toMatchObject({ id: 'viewer', preset: true, members: 0 });
    expect((await api.call('GET', `${roles(org)}/nobody`)).status).toBe(404);
    const { id } = await member(api, await api.org(), 'viewer');
    expect((await api.call('GET', `/api/v1/orgs/${org}/members/${id}`)).status).toBe(404);
  });

  test('of a role and a quota in one change both are refused when one is', async () => {
    const org = await api.org();
    const { id, as } = await member(api, org, 'owner');
    const path = `/api/v1/orgs/${org}/members/${id}`;
    const refused = await api.call('PATCH', path, { role_id: 'viewer', monthly_quota: 5 }, as);
    expect([refused.status, refused.body['code']]).toEqual([409, 'last_owner']);
    expect((await api.call('GET', path, undefined, as)).body).toMatchObject({ role: { id: 'owner' }, monthly_quota: null });
  });
});
