import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { createKey } from '../../src/accounts/keys/createKey.js';
import type { Scope } from '../../src/accounts/keys/scopes.js';
import type { SignedIn } from '../../src/accounts/people/session.js';
import type { Permission } from '../../src/accounts/roles/permissions.js';
import { base62, type OrgId } from '../../src/domain/ids.js';
import { type Rig, signedIn } from './harness.js';

export interface Somebody {
  readonly id: string;
  /** What their browser sends along. */
  readonly as: Record<string, string>;
}

/** Somebody who has just signed in and belongs to nothing. */
export async function person(api: Rig, more: Partial<SignedIn> = {}): Promise<Somebody> {
  const id = `usr_${randomBytes(16).toString('hex')}`;
  await api.db.query("insert into people (person_id, email, name) values ($1, $1 || '@example.test', 'Somebody')", [id]);
  return { id, as: signedIn(id, more) };
}

/** A member in one of the presets, or with permissions of a role made for them. */
export async function member(api: Rig, org: string, role: string | readonly Permission[], more: Partial<SignedIn> = {}): Promise<Somebody> {
  const one = await person(api, more);
  let roleId = role;
  if (typeof roleId !== 'string') {
    roleId = `role_${base62(14)}`;
    await api.db.query('insert into roles (role_id, org_id, name, permissions) values ($1, $2, $1, $3::text[])', [
      roleId,
      org,
      role as string[],
    ]);
  }
  await api.db.query('insert into org_members (org_id, person_id, role_id) values ($1, $2, $3)', [org, one.id, roleId as string]);
  return one;
}

/** A management key of an organization, as the headers that use it. */
export async function managementKey(api: Rig, org: string, ...scopes: Scope[]): Promise<Somebody & { readonly secret: string }> {
  const ctx = { ...api.deps, actor: { kind: 'operator' } } as const;
  const made = await createKey({ ctx, orgId: org as OrgId, input: { name: 'test', scopes, expires_at: null } });
  expect(made.kind).toBe('created');
  if (made.kind !== 'created') throw new Error(made.kind);
  return { id: made.key.key_id, secret: made.secret, as: { authorization: `Bearer ${made.secret}` } };
}
