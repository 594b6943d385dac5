import { describe, expect, test } from 'vitest';
import { type Actor, decide, heldBy, nameOf } from '../../src/accounts/actor.js';
import type { Scope } from '../../src/accounts/keys/scopes.js';
import type { OperatorRole, Permission } from '../../src/accounts/roles/permissions.js';

const person = (permissions: Permission[], operatorRole: OperatorRole | null = null): Actor => ({
  ...{ kind: 'person', id: 'usr_1', orgId: 'org_a', permissions: new Set(permissions), operatorRole, isProved: false },
});
const key = (...scopes: Scope[]): Actor => ({ kind: 'key', id: 'key_1', orgId: 'org_a', scopes: new Set(scopes) });

const everything = { kind: 'allowed', reach: { ownerId: null } };

describe('who may do what', () => {
  test('the operator key may do everything, everywhere, except be a person', () => {
    expect(decide({ kind: 'operator' }, 'operator.admin', null)).toEqual(everything);
    expect(decide({ kind: 'operator' }, 'tokens.write', 'org_b')).toEqual(everything);
    expect(decide({ kind: 'operator' }, 'session', null)).toEqual({ kind: 'wrong_credential' });
  });

  test('a member may do what its role says, in its own organization', () => {
    expect(decide(person(['tokens.manage']), 'tokens.write', 'org_a')).toEqual(everything);
    expect(decide(person(['logs.read']), 'tokens.write', 'org_a')).toEqual({ kind: 'forbidden', missing: { permission: 'tokens.manage' } });
  });

  test('whoever may do it to their own reaches only that', () => {
    expect(decide(person(['logs.read_own']), 'logs.read', 'org_a')).toEqual({ kind: 'allowed', reach: { ownerId: 'usr_1' } });
    expect(decide(person(['logs.read_own', 'logs.read']), 'logs.read', 'org_a')).toEqual(everything);
  });

  test('other organizations are not there for it, whatever its role', () => {
    expect(decide(person(['tokens.manage']), 'tokens.write', 'org_b')).toEqual({ kind: 'foreign' });
    expect(decide(key('tokens:write'), 'tokens.write', 'org_b')).toEqual({ kind: 'foreign' });
  });

  test('people of the operator do what their role is for, also where they do not belong', () => {
    expect(decide(person([], 'operator.support'), 'logs.read', 'org_b')).toEqual(everything);
    expect(decide(person([], 'operator.support'), 'tokens.write', 'org_b').kind).toBe('forbidden');
    expect(decide(person([], 'operator.support'), 'operator.finance', null).kind).toBe('forbidden');
    expect(decide(person(['tokens.manage'], 'operator.support'), 'tokens.write', 'org_a')).toEqual(everything);
    expect(decide(person([], 'operator.admin'), 'tokens.write', 'org_b')).toEqual(everything);
  });

  test('nobody becomes the operator by belonging to an organization', () => {
    expect(decide(person(['org.manage', 'org.delete']), 'operator.any', null).kind).toBe('forbidden');
    expect(decide(key('tokens:write'), 'operator.any', 'org_a')).toEqual({ kind: 'wrong_credential' });
  });

  test('a key does what its scopes say, and never what is for people alone', () => {
    expect(decide(key('tokens:read'), 'tokens.read', 'org_a')).toEqual(everything);
    expect(decide(key('tokens:read'), 'tokens.write', 'org_a')).toEqual({ kind: 'forbidden', missing: { scope: 'tokens:write' } });
    expect(decide(key('members:write'), 'org.manage', 'org_a')).toEqual({ kind: 'wrong_credential' });
    expect(decide(key('members:write'), 'session', null)).toEqual({ kind: 'wrong_credential' });
  });

  test('each is named in the audit log', () => {
    expect([{ kind: 'operator' } as const, { kind: 'system', part: 'trial' } as const, person([]), key()].map(nameOf)).toEqual([
      'operator',
      'system:trial',
      'person:usr_1',
      'key:key_1',
    ]);
  });
});

test('a key passes on what it may do itself, and what it only reads it does not give', () => {
  expect(heldBy(key('members:write', 'tokens:read', 'logs:read'))).toEqual(['members.manage', 'logs.read', 'logs.read_own']);
  expect(heldBy(person(['tokens.manage']))).toEqual(['tokens.manage', 'tokens.manage_own']);
  expect(heldBy(person(['tokens.manage'], 'operator.support'))).toEqual(['tokens.manage', 'tokens.manage_own']);
  expect(heldBy(person([], 'operator.admin'))).toHaveLength(16);
});
