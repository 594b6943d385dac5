import type { KeyId, OrgId } from '../../domain/ids.js';
import { digestOf, newManagementSecret } from '../../domain/secrets.js';
import { nameOf } from '../actor.js';
import type { AccountsContext } from '../context.js';
import { type BeyondOwnRole, beyondOwn } from './beyond.js';
import { KEY_FACTS, KEY_VIEW, type ManagementKey } from './key.js';
import type { Scope } from './scopes.js';

type Context = Pick<AccountsContext, 'db' | 'actor' | 'pepper' | 'clock'>;

export type ChangedKey =
  | { readonly kind: 'changed'; readonly key: ManagementKey }
  | { readonly kind: 'unknown_key' }
  /** A revoked key stays revoked. */
  | { readonly kind: 'revoked' };

/** Another name, other scopes, another end. Only what is named changes. */
export async function updateKey(what: {
  ctx: Context;
  orgId: OrgId;
  keyId: KeyId;
  changes: { readonly name?: string; readonly scopes?: readonly Scope[]; readonly expires_at?: string | null };
}): Promise<ChangedKey | BeyondOwnRole> {
  const beyond = beyondOwn(what.ctx.actor, what.changes.scopes ?? []);
  return beyond ?? change({ ...what, action: 'key.update' });
}

/** Ends a key for ever; the very next call with it is refused. */
export function revokeKey(what: { ctx: Context; orgId: OrgId; keyId: KeyId }): Promise<ChangedKey> {
  return change({ ...what, action: 'key.revoke', changes: { revoked_at: new Date(what.ctx.clock.nowMs()).toISOString() } });
}

export type RotatedKey =
  | { readonly kind: 'changed'; readonly key: ManagementKey; readonly secret: string }
  | Exclude<ChangedKey, { kind: 'changed' }>
  | BeyondOwnRole;

/** A new secret for the same key. The old one works on for `graceSeconds`. */
export async function rotateKey(what: { ctx: Context; orgId: OrgId; keyId: KeyId; graceSeconds: number }): Promise<RotatedKey> {
  const { ctx, orgId, keyId, graceSeconds } = what;
  const secret = newManagementSecret(keyId);
  const changes = {
    digest: digestOf(secret, ctx.pepper),
    last_four: secret.slice(-4),
    grace_ends_at: graceSeconds > 0 ? new Date(ctx.clock.nowMs() + graceSeconds * 1_000).toISOString() : null,
  };
  const seen = await ctx.db.one<{ scopes: readonly Scope[] }>(
    'select scopes from management_keys where key_id = $1 and org_id = $2',
    [keyId, orgId],
    { idempotent: true },
  );
  const beyond = beyondOwn(ctx.actor, seen?.scopes ?? []);
  if (beyond) return beyond;
  const changed = await change({ ctx, orgId, keyId, action: 'key.rotate', changes });
  return changed.kind === 'changed' ? { ...changed, secret } : changed;
}

/** One statement: the row, and the line in the audit log that says so, without secrets. */
async function change(what: { ctx: Context; orgId: OrgId; keyId: KeyId; action: string; changes: object }): Promise<ChangedKey> {
  const { ctx, orgId, keyId, action, changes } = what;
  const row = await ctx.db.one<{ old: ManagementKey; new: ManagementKey | null }>(
    `
    with k as (
      select * from management_keys where key_id = $1 and org_id = $2 for update
    ), seen as (
      select key_id, digest, ${KEY_VIEW} as view, ${KEY_FACTS} as facts from k
    ), changed as (
      update management_keys t set (name, scopes, expires_at, revoked_at, digest, last_four, grace_digest, grace_ends_at, updated_at) = (
        select r.name, r.scopes, r.expires_at, coalesce(t.revoked_at, r.revoked_at), r.digest, r.last_four,
          case when r.grace_ends_at is null then null when r.digest <> t.digest then t.digest else r.grace_digest end, r.grace_ends_at, now()
        from jsonb_populate_record(t, $3::text::jsonb) r)
      from seen where t.key_id = seen.key_id and (t.revoked_at is null or $4 = 'key.revoke')
      returning t.*
    ), after as (
      select key_id, org_id, digest, ${KEY_VIEW} as view, ${KEY_FACTS} as facts from changed k
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select after.org_id, $5, $4, after.key_id, jsonb_build_object(
        'before', (select jsonb_object_agg(key, value) from jsonb_each(seen.facts) where after.facts->key is distinct from value),
        'after', (select jsonb_object_agg(key, value) from jsonb_each(after.facts) where seen.facts->key is distinct from value))
      from after join seen using (key_id) where after.facts is distinct from seen.facts or after.digest <> seen.digest
    )
    select seen.view as old, after.view as new from seen left join after using (key_id)`,
    [keyId, orgId, JSON.stringify(changes), action, nameOf(ctx.actor)],
    { idempotent: action !== 'key.rotate' },
  );
  if (!row) return { kind: 'unknown_key' };
  return row.new ? { kind: 'changed', key: row.new } : { kind: 'revoked' };
}
