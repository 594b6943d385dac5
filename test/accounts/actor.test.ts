import { describe, expect, test } from 'vitest';
import { type Actor, decide, nameOf, type Permission } from '../../src/accounts/actor.js';
import { seal, unseal } from '../../src/accounts/seal.js';

const member = (...permissions: Permission[]): Actor => ({
  kind: 'member',
  id: 'usr_1',
  orgId: 'org_a',
  permissions: new Set(permissions),
});

describe('who may do what', () => {
  test('the operator may do everything, everywhere', () => {
    expect(decide({ kind: 'operator' }, 'operator', null)).toBe('allowed');
    expect(decide({ kind: 'operator' }, 'tokens.manage', 'org_b')).toBe('allowed');
  });

  test('a member may do what its role says, in its own organization', () => {
    expect(decide(member('tokens.manage'), 'tokens.manage', 'org_a')).toBe('allowed');
    expect(decide(member('tokens.read'), 'tokens.manage', 'org_a')).toBe('forbidden');
  });

  test('other organizations are not there for it, whatever its role', () => {
    expect(decide(member('tokens.manage'), 'tokens.manage', 'org_b')).toBe('foreign');
  });

  test('nobody becomes the operator by holding a permission of that name', () => {
    expect(decide(member('operator'), 'operator', null)).toBe('forbidden');
    expect(decide(member('operator'), 'operator', 'org_a')).toBe('forbidden');
  });

  test('each is named in the audit log', () => {
    expect([{ kind: 'operator' } as const, { kind: 'system', part: 'trial' } as const, member()].map(nameOf)).toEqual([
      'operator',
      'system:trial',
      'member:usr_1',
    ]);
  });
});

describe('sealed texts', () => {
  test('come back with the same pepper only, and never look alike', () => {
    const [one, two] = [seal('sk-fb-secret', 'pepper'), seal('sk-fb-secret', 'pepper')];
    expect(one).not.toBe(two);
    expect([unseal(one, 'pepper'), unseal(two, 'pepper')]).toEqual(['sk-fb-secret', 'sk-fb-secret']);
    expect(() => unseal(one, 'other')).toThrow();
    expect(() => unseal(`${one.slice(0, -4)}AAAA`, 'pepper')).toThrow();
  });
});
