import { describe, expect, test } from 'vitest';
import type { Actor } from '../../../src/accounts/actor.js';
import type { AccountsContext } from '../../../src/accounts/context.js';
import { changeMember } from '../../../src/accounts/roles/changeMember.js';
import { addMember, listMembers, readMember, removeMember } from '../../../src/accounts/roles/members.js';
import type { Permission } from '../../../src/accounts/roles/permissions.js';
import type { OrgId } from '../../../src/domain/ids.js';
import { useApi } from '../../api/harness.js';

const api = useApi();
const context = (actor: Actor = { kind: 'system', part: 'test' }): AccountsContext => ({ ...api.deps, actor });

let made = 0;
const person = (): string => `usr_${String(++made).padStart(16, '0')}`;

async function orgWith(...roles: string[]): Promise<{ orgId: OrgId; people: string[] }> {
  const orgId = (await api.org()) as OrgId;
  const people: string[] = [];
  for (const roleId of roles) {
    const personId = person();
    expect((await addMember({ ctx: context(), orgId, personId, roleId })).kind).toBe('added');
    people.push(personId);
  }
  return { orgId, people };
}

const changeRole = ({ roleId, ...of }: { ctx: AccountsContext; orgId: OrgId; personId: string; roleId: string }) =>
  changeMember({ ...of, changes: { roleId } });
const setMemberQuota = ({ monthlyQuota, ...of }: { ctx: AccountsContext; orgId: OrgId; personId: string; monthlyQuota: number | null }) =>
  changeMember({ ...of, changes: { monthlyQuota } });

const owners = async (orgId: OrgId): Promise<number> =>
  (await listMembers({ ctx: context(), orgId, after: null, limit: 100 })).rows.filter((one) => one.role_id === 'owner').length;

describe('the last owner', () => {
  test('stays, whether by demotion or by removal', async () => {
    const { orgId, people } = await orgWith('owner', 'admin');
    const personId = people[0] ?? '';
    expect(await changeRole({ ctx: context(), orgId, personId, roleId: 'viewer' })).toEqual({ kind: 'last_owner' });
    expect(await removeMember({ ctx: context(), orgId, personId, tokens: { kind: 'keep' } })).toEqual({ kind: 'last_owner' });
    expect((await changeRole({ ctx: context(), orgId, personId, roleId: 'owner' })).kind).toBe('changed');
    expect(await owners(orgId)).toBe(1);
  });

  test('of two who leave at once, one stays', async () => {
    for (let round = 0; round < 25; round++) {
      const { orgId, people } = await orgWith('owner', 'owner');
      const leave = (personId: string, index: number) =>
        (index + round) % 2 === 0
          ? changeRole({ ctx: context(), orgId, personId, roleId: 'developer' })
          : removeMember({ ctx: context(), orgId, personId, tokens: { kind: 'keep' } });
      const kinds = (await Promise.all(people.map(leave))).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === 'last_owner')).toHaveLength(1);
      expect(await owners(orgId)).toBe(1);
    }
  });

  test('of ten who give up ownership at once, exactly one is refused', async () => {
    const { orgId, people } = await orgWith(...Array.from({ length: 10 }, () => 'owner'));
    const kinds = await Promise.all(people.map((personId) => changeRole({ ctx: context(), orgId, personId, roleId: 'viewer' })));
    expect(kinds.filter(({ kind }) => kind === 'last_owner')).toHaveLength(1);
    expect(await owners(orgId)).toBe(1);
  });
});

describe('roles beyond one’s own', () => {
  const member = async (orgId: OrgId, id: string): Promise<Actor> => {
    const row = await api.db.one<{ permissions: Permission[] }>(
      'select r.permissions from org_members m join roles r using (role_id) where m.org_id = $1 and person_id = $2',
      [orgId, id],
    );
    return { kind: 'person', id, orgId, permissions: new Set(row?.permissions), operatorRole: null, isProved: true };
  };

  test('are neither given nor taken: an admin does not touch owners', async () => {
    const { orgId, people } = await orgWith('owner', 'owner', 'admin', 'viewer');
    const [owner = '', , admin = '', viewer = ''] = people;
    const ctx = context(await member(orgId, admin));
    const beyond = { kind: 'beyond_own_role' };
    expect(await changeRole({ ctx, orgId, personId: viewer, roleId: 'owner' })).toEqual(beyond);
    expect(await changeRole({ ctx, orgId, personId: admin, roleId: 'owner' })).toEqual(beyond);
    expect(await changeRole({ ctx, orgId, personId: owner, roleId: 'viewer' })).toEqual(beyond);
    expect(await removeMember({ ctx, orgId, personId: owner, tokens: { kind: 'keep' } })).toEqual(beyond);
    expect(await addMember({ ctx, orgId, personId: person(), roleId: 'owner' })).toEqual(beyond);
    expect((await changeRole({ ctx, orgId, personId: viewer, roleId: 'developer' })).kind).toBe('changed');
    expect(await owners(orgId)).toBe(2);
  });

  test('nobody sets the quota of somebody above them; both of a change happen, or neither', async () => {
    const { orgId, people } = await orgWith('owner', 'admin', 'viewer');
    const [owner = '', admin = '', viewer = ''] = people;
    const ctx = context(await member(orgId, admin));
    expect(await setMemberQuota({ ctx, orgId, personId: owner, monthlyQuota: 0 })).toEqual({ kind: 'beyond_own_role' });
    const both = { roleId: 'owner', monthlyQuota: 5 };
    expect(await changeMember({ ctx, orgId, personId: viewer, changes: both })).toEqual({ kind: 'beyond_own_role' });
    expect(await readMember({ ctx, orgId, personId: viewer })).toMatchObject({ role_id: 'viewer', monthly_quota: null });
    const alone = await changeMember({ ctx: context(), orgId, personId: owner, changes: { roleId: 'viewer', monthlyQuota: 5 } });
    expect(alone).toEqual({ kind: 'last_owner' });
    expect(await readMember({ ctx, orgId, personId: owner })).toMatchObject({ role_id: 'owner', monthly_quota: null });
    expect((await changeMember({ ctx, orgId, personId: viewer, changes: { roleId: 'developer', monthlyQuota: 5 } })).kind).toBe('changed');
    expect(await readMember({ ctx, orgId, personId: viewer })).toMatchObject({ role_id: 'developer', monthly_quota: 5 });
  });

  test('whoever is made an owner at the same moment is an owner afterwards, whatever an admin did', async () => {
    for (let round = 0; round < 15; round++) {
      const { orgId, people } = await orgWith('owner', 'admin', 'viewer');
      const [owner = '', admin = '', third = ''] = people;
      const [byAdmin, byOwner] = [context(await member(orgId, admin)), context(await member(orgId, owner))];
      const demote = () => changeMember({ ctx: byAdmin, orgId, personId: third, changes: { roleId: 'developer', monthlyQuota: 1 } });
      const promote = () => changeMember({ ctx: byOwner, orgId, personId: third, changes: { roleId: 'owner' } });
      const [first, second] = round % 2 === 0 ? [demote, promote] : [promote, demote];
      const done = await Promise.all([first(), second()]);
      const [demoted, promoted] = round % 2 === 0 ? done : [done[1], done[0]];
      expect(promoted.kind).toBe('changed');
      const after = await readMember({ ctx: byOwner, orgId, personId: third });
      expect([demoted.kind, after?.role_id, after?.monthly_quota]).toEqual(
        demoted.kind === 'changed' ? ['changed', 'owner', 1] : ['beyond_own_role', 'owner', null],
      );
    }
  });

  test('of two that say what they saw, one is told that it changed', async () => {
    const { orgId, people } = await orgWith('owner', 'viewer');
    const personId = people[1] ?? '';
    const seen = await readMember({ ctx: context(), orgId, personId });
    const change = (monthlyQuota: number) =>
      changeMember({ ctx: context(), orgId, personId, changes: { monthlyQuota }, ifMatch: seen?.etag ?? '' });
    const done = await Promise.all([change(1), change(2)]);
    expect(done.map(({ kind }) => kind).sort()).toEqual(['changed', 'changed_meanwhile']);
    const winner = done[0]?.kind === 'changed' ? 1 : 2;
    expect(await readMember({ ctx: context(), orgId, personId })).toMatchObject({ monthly_quota: winner });
  });

  test('of another organization are not there', async () => {
    const [{ orgId, people }, other] = [await orgWith('owner', 'viewer'), await orgWith('owner')];
    await api.db.query(
      "insert into roles (role_id, org_id, name, permissions) values ('role_00000000000000', $1, 'Auditor', '{logs.read}')",
      [other.orgId],
    );
    const roleId = 'role_00000000000000';
    expect(await changeRole({ ctx: context(), orgId, personId: people[1] ?? '', roleId })).toEqual({ kind: 'unknown_role' });
    expect(await addMember({ ctx: context(), orgId, personId: person(), roleId })).toEqual({ kind: 'unknown_role' });
    expect((await addMember({ ctx: context(), orgId: other.orgId, personId: person(), roleId })).kind).toBe('added');
  });
});

describe('the tokens of somebody who leaves', () => {
  const leaving = async () => {
    const { orgId, people } = await orgWith('owner', 'developer');
    const [heir = '', leaver = ''] = people;
    const { id } = await api.token(orgId);
    await api.db.query('update tokens set owner_id = $2 where token_id = $1', [id, leaver]);
    const token = () =>
      api.db.one<{ owner_id: string | null; status: string }>('select owner_id, status from tokens where token_id = $1', [id]);
    return { orgId, heir, leaver, id, token };
  };

  test('go on as the organization’s own', async () => {
    const { orgId, leaver, token } = await leaving();
    const removed = await removeMember({ ctx: context(), orgId, personId: leaver, tokens: { kind: 'keep' } });
    expect(removed).toEqual({ kind: 'removed', tokens: 1, effect: 'projected' });
    expect(await token()).toEqual({ owner_id: null, status: 'active' });
  });

  test('go to somebody who stays, and to nobody else', async () => {
    const { orgId, heir, leaver, token } = await leaving();
    for (const to of [leaver, person()])
      expect(await removeMember({ ctx: context(), orgId, personId: leaver, tokens: { kind: 'reassign', to } })).toEqual({
        kind: 'unknown_heir',
      });
    expect(await token()).toEqual({ owner_id: leaver, status: 'active' });
    expect((await removeMember({ ctx: context(), orgId, personId: leaver, tokens: { kind: 'reassign', to: heir } })).kind).toBe('removed');
    expect(await token()).toEqual({ owner_id: heir, status: 'active' });
  });

  test('are revoked, and the hot store knows it when the answer comes', async () => {
    const { orgId, leaver, id, token } = await leaving();
    await removeMember({ ctx: context(), orgId, personId: leaver, tokens: { kind: 'revoke' } });
    expect(await token()).toEqual({ owner_id: null, status: 'revoked' });
    const found = await api.store.lookup(id as never);
    expect(found).toMatchObject({ kind: 'found', token: { status: 'revoked' } });
  });
});

test('a member is listed with its quota and what its tokens were charged this month', async () => {
  const { orgId, people } = await orgWith('owner', 'developer');
  const [first = '', second = ''] = people;
  const { id } = await api.token(orgId);
  await api.db.query('update tokens set owner_id = $2 where token_id = $1', [id, second]);
  await api.db.query("update token_use set monthly = 70, monthly_ends_at = now() + interval '1 day' where token_id = $1", [id]);
  expect((await setMemberQuota({ ctx: context(), orgId, personId: second, monthlyQuota: 5_000_000 })).kind).toBe('changed');
  expect((await setMemberQuota({ ctx: context(), orgId, personId: person(), monthlyQuota: 1 })).kind).toBe('unknown_member');
  const page = await listMembers({ ctx: context(), orgId, after: null, limit: 1 });
  expect([page.hasMore, page.rows[0]?.person_id]).toEqual([true, first]);
  const after = { createdAt: page.rows[0]?.created_at ?? '', personId: first };
  const [row] = (await listMembers({ ctx: context(), orgId, after, limit: 1 })).rows;
  expect(row).toMatchObject({ person_id: second, role_name: 'Developer', monthly_quota: 5_000_000, month_spent: 70, tokens: 1 });
  expect(await readMember({ ctx: context(), orgId, personId: second })).toEqual(row);
});

test('the presets stay as they are', async () => {
  await expect(api.db.query("update roles set permissions = '{}' where role_id = 'viewer'")).rejects.toMatchObject({ code: '23000' });
  await expect(api.db.query("delete from roles where role_id = 'viewer'")).rejects.toMatchObject({ code: '23000' });
});

test('each change has its line in the audit log', async () => {
  const { orgId, people } = await orgWith('owner', 'viewer');
  const personId = people[1] ?? '';
  await changeRole({ ctx: context(), orgId, personId, roleId: 'developer' });
  await setMemberQuota({ ctx: context(), orgId, personId, monthlyQuota: 7 });
  await removeMember({ ctx: context(), orgId, personId, tokens: { kind: 'revoke' } });
  const rows = await api.db.query<{ action: string }>('select action from audit_log where org_id = $1 and subject = $2 order by id', [
    orgId,
    personId,
  ]);
  expect(rows.map(({ action }) => action)).toEqual(['member.add', 'member.change_role', 'member.quota', 'member.remove']);
});
