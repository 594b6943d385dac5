import { DatabaseError } from '../../db/errors.js';
import { newRoleId, type OrgId, type RoleId } from '../../domain/ids.js';
import { heldBy, nameOf } from '../actor.js';
import type { AccountsContext } from '../context.js';
import type { Permission } from './permissions.js';

/** A role as it can be given in an organization: one of the presets, or of its own making. */
export interface Role {
  readonly role_id: string;
  readonly name: string;
  readonly is_preset: boolean;
  readonly permissions: readonly Permission[];
  /** How many people have it in this organization. */
  readonly members: number;
  readonly created_at: string;
  readonly updated_at: string;
  readonly etag: string;
}

type Context = Pick<AccountsContext, 'db' | 'actor'>;

/** Why a role stays as it is. */
type RoleRefusal =
  /** Nobody makes or changes a role that allows more than their own does. */
  { readonly kind: 'beyond_own_role' } | { readonly kind: 'name_taken' } | { readonly kind: 'unknown_role' };

/** Few enough to be listed whole. */
const ROLES_MAX = 100;

/** Of the role `r`: not how many people have it. */
const ETAG = `left(md5(concat_ws('|', r.name, r.permissions, extract(epoch from r.updated_at))), 16)`;

/** The row `r` of roles, in the organization $1. */
const ROLE_VIEW = `
  jsonb_build_object('role_id', r.role_id, 'name', r.name, 'is_preset', r.org_id is null, 'permissions', r.permissions,
    'members', (select count(*) from org_members m where m.org_id = $1 and m.role_id = r.role_id),
    'created_at', r.created_at, 'updated_at', r.updated_at, 'etag', ${ETAG})`;

/** The presets first, from the most to the least; then what the organization made. */
export async function listRoles(what: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId }): Promise<readonly Role[]> {
  const rows = await what.ctx.db.query<{ role: Role }>(
    `select ${ROLE_VIEW} as role from roles r where r.org_id is null or r.org_id = $1
     order by r.org_id is not null, case when r.org_id is null then -cardinality(r.permissions) end, r.created_at, r.role_id`,
    [what.orgId],
    { idempotent: true },
  );
  return rows.map(({ role }) => role);
}

export async function readRole(what: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId; roleId: string }): Promise<Role | undefined> {
  const row = await what.ctx.db.one<{ role: Role }>(
    `select ${ROLE_VIEW} as role from roles r where r.role_id = $2 and (r.org_id is null or r.org_id = $1)`,
    [what.orgId, what.roleId],
    { idempotent: true },
  );
  return row?.role;
}

export async function createRole(what: {
  ctx: Context;
  orgId: OrgId;
  name: string;
  permissions: readonly Permission[];
}): Promise<
  | { readonly kind: 'created'; readonly role: Role }
  | Exclude<RoleRefusal, { kind: 'unknown_role' }>
  | { readonly kind: 'too_many' | 'unknown_org' }
> {
  const { ctx, orgId, name, permissions } = what;
  if (!holds(ctx, permissions)) return { kind: 'beyond_own_role' };
  const row = await ctx.db.one<{ org: boolean; room: boolean; role: Role | null }>(
    `
    with room as (
      select count(*) < $6::int as is_left from roles where org_id = $1
    ), r as (
      insert into roles (role_id, org_id, name, permissions)
      select $2, o.org_id, $3, $4::text[] from organizations o, room where o.org_id = $1 and room.is_left
      on conflict do nothing returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select r.org_id, $5, 'role.create', r.role_id,
        jsonb_build_object('after', jsonb_build_object('name', r.name, 'permissions', r.permissions)) from r
    )
    select exists (select from organizations where org_id = $1) as org, (select is_left from room) as room, (select ${ROLE_VIEW} from r) as role`,
    [orgId, newRoleId(), name, permissions, nameOf(ctx.actor), ROLES_MAX],
  );
  if (!row?.org) return { kind: 'unknown_org' };
  if (!row.room) return { kind: 'too_many' };
  return row.role ? { kind: 'created', role: row.role } : { kind: 'name_taken' };
}

/** Changes what everybody with this role may do, from their next call on. The presets are not among those that can be changed. */
export async function updateRole(what: {
  ctx: Context;
  orgId: OrgId;
  roleId: RoleId;
  changes: { readonly name?: string | undefined; readonly permissions?: readonly Permission[] | undefined };
  ifMatch: string | null;
}): Promise<
  | { readonly kind: 'changed'; readonly role: Role }
  /** Somebody else was first: this is how it looks now. */
  | { readonly kind: 'changed_meanwhile'; readonly role: Role }
  | RoleRefusal
> {
  const { ctx, orgId, roleId, changes, ifMatch } = what;
  if (!holds(ctx, changes.permissions ?? [])) return { kind: 'beyond_own_role' };
  const row = await written(ctx, { orgId, roleId, changes, ifMatch });
  if (row === 'name_taken') return { kind: 'name_taken' };
  if (!row) return { kind: 'unknown_role' };
  if (!row.within) return { kind: 'beyond_own_role' };
  if (!row.fresh) return { kind: 'changed_meanwhile', role: row.seen };
  return row.role ? { kind: 'changed', role: row.role } : { kind: 'name_taken' };
}

type Change = Pick<Parameters<typeof updateRole>[0], 'orgId' | 'roleId' | 'changes' | 'ifMatch'>;

/** Of two that take a name at the same moment neither sees the other; the index does. */
async function written(ctx: Context, change: Change) {
  try {
    return await write(ctx, change);
  } catch (error) {
    if (error instanceof DatabaseError && error.code === UNIQUE_VIOLATION) return 'name_taken';
    throw error;
  }
}

const UNIQUE_VIOLATION = '23505';

function write(ctx: Context, { orgId, roleId, changes, ifMatch }: Change) {
  return ctx.db.one<{ within: boolean; fresh: boolean; seen: Role; role: Role | null }>(
    `
    with seen as materialized (
      select r.*, $7::text is null or ${ETAG} = $7 as fresh from roles r where r.role_id = $2 and r.org_id = $1 for update
    ), taken as (
      select from roles where org_id = $1 and role_id <> $2 and lower(name) = lower($3::text)
    ), r as (
      update roles t set name = coalesce($3::text, t.name), permissions = coalesce($4::text[], t.permissions), updated_at = now()
      from seen where t.role_id = seen.role_id and seen.permissions <@ $5::text[] and seen.fresh
        and not exists (select from taken) returning t.*
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select r.org_id, $6, 'role.update', r.role_id, jsonb_build_object(
        'before', jsonb_build_object('name', seen.name, 'permissions', seen.permissions),
        'after', jsonb_build_object('name', r.name, 'permissions', r.permissions))
      from r join seen using (role_id) where (r.name, r.permissions) is distinct from (seen.name, seen.permissions)
    )
    select r.permissions <@ $5::text[] as within, r.fresh, ${ROLE_VIEW} as seen, (select ${ROLE_VIEW} from r) as role from seen r`,
    [orgId, roleId, changes.name ?? null, changes.permissions ?? null, heldBy(ctx.actor), nameOf(ctx.actor), ifMatch],
    { idempotent: ifMatch === null },
  );
}

/** Only a role that nobody has goes away. */
export async function deleteRole(what: {
  ctx: Context;
  orgId: OrgId;
  roleId: RoleId;
}): Promise<{ readonly kind: 'deleted' } | { readonly kind: 'in_use' | 'unknown_role' | 'beyond_own_role' }> {
  const { ctx, orgId, roleId } = what;
  const row = await ctx.db.one<{ within: boolean; deleted: boolean }>(
    `
    with seen as materialized (
      select * from roles where role_id = $2 and org_id = $1 for update
    ), gone as (
      delete from roles t using seen where t.role_id = seen.role_id and seen.permissions <@ $3::text[]
        and not exists (select from org_members m where m.role_id = $2) returning t.*
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select g.org_id, $4, 'role.delete', g.role_id,
        jsonb_build_object('before', jsonb_build_object('name', g.name, 'permissions', g.permissions)) from gone g
    )
    select seen.permissions <@ $3::text[] as within, exists (select from gone) as deleted from seen`,
    [orgId, roleId, heldBy(ctx.actor), nameOf(ctx.actor)],
  );
  if (!row) return { kind: 'unknown_role' };
  if (!row.within) return { kind: 'beyond_own_role' };
  return { kind: row.deleted ? 'deleted' : 'in_use' };
}

function holds(ctx: Context, permissions: readonly Permission[]): boolean {
  const held = new Set(heldBy(ctx.actor));
  return permissions.every((one) => held.has(one));
}
