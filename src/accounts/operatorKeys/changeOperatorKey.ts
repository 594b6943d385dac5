import type { OperatorKeyId } from '../../domain/ids.js';
import { digestOf, newOperatorSecret } from '../../domain/secrets.js';
import { nameOf } from '../actor.js';
import type { AccountsContext } from '../context.js';
import { OPERATOR_KEY_FACTS, OPERATOR_KEY_VIEW, type OperatorKey } from './operatorKey.js';

type Context = Pick<AccountsContext, 'db' | 'actor' | 'pepper' | 'clock'>;

export type ChangedOperatorKey =
  | { readonly kind: 'changed'; readonly key: OperatorKey }
  | { readonly kind: 'unknown_key' }
  /** A revoked key stays revoked. */
  | { readonly kind: 'revoked' };

/** Ends a key for ever; the very next call with it is refused. */
export function revokeOperatorKey(what: { ctx: Context; id: OperatorKeyId }): Promise<ChangedOperatorKey> {
  const revoked_at = new Date(what.ctx.clock.nowMs()).toISOString();
  return change({ ...what, action: 'operator_key.revoke', changes: { revoked_at } });
}

export type RotatedOperatorKey =
  | { readonly kind: 'changed'; readonly key: OperatorKey; readonly secret: string }
  | Exclude<ChangedOperatorKey, { kind: 'changed' }>;

/** A new secret for the same key. The old one works on for `graceSeconds`. */
export async function rotateOperatorKey(what: { ctx: Context; id: OperatorKeyId; graceSeconds: number }): Promise<RotatedOperatorKey> {
  const { ctx, id, graceSeconds } = what;
  const secret = newOperatorSecret(id);
  const changes = {
    digest: digestOf(secret, ctx.pepper),
    last_four: secret.slice(-4),
    grace_ends_at: graceSeconds > 0 ? new Date(ctx.clock.nowMs() + graceSeconds * 1_000).toISOString() : null,
  };
  const changed = await change({ ctx, id, action: 'operator_key.rotate', changes });
  return changed.kind === 'changed' ? { ...changed, secret } : changed;
}

/** One statement: the row, and the line in the audit log that says so, without secrets. */
async function change(what: { ctx: Context; id: OperatorKeyId; action: string; changes: object }): Promise<ChangedOperatorKey> {
  const { ctx, id, action, changes } = what;
  const row = await ctx.db.one<{ new: OperatorKey | null }>(
    `
    with k as (
      select * from operator_keys where operator_key_id = $1 for update
    ), seen as (
      select operator_key_id, digest, ${OPERATOR_KEY_FACTS} as facts from k
    ), changed as (
      update operator_keys t set (revoked_at, digest, last_four, grace_digest, grace_ends_at, updated_at) = (
        select coalesce(t.revoked_at, r.revoked_at), r.digest, r.last_four,
          case when r.grace_ends_at is null then null when r.digest <> t.digest then t.digest else r.grace_digest end, r.grace_ends_at, now()
        from jsonb_populate_record(t, $2::text::jsonb) r)
      from seen where t.operator_key_id = seen.operator_key_id and (t.revoked_at is null or $3 = 'operator_key.revoke')
      returning t.*
    ), after as (
      select operator_key_id, digest, ${OPERATOR_KEY_VIEW} as view, ${OPERATOR_KEY_FACTS} as facts from changed k
    ), audited as (
      insert into audit_log (actor, action, subject, details)
      select $4, $3, after.operator_key_id, jsonb_build_object(
        'before', (select jsonb_object_agg(key, value) from jsonb_each(seen.facts) where after.facts->key is distinct from value),
        'after', (select jsonb_object_agg(key, value) from jsonb_each(after.facts) where seen.facts->key is distinct from value))
      from after join seen using (operator_key_id) where after.facts is distinct from seen.facts or after.digest <> seen.digest
    )
    select after.view as new from seen left join after using (operator_key_id)`,
    [id, JSON.stringify(changes), action, nameOf(ctx.actor)],
    { idempotent: action !== 'operator_key.rotate' },
  );
  if (!row) return { kind: 'unknown_key' };
  return row.new ? { kind: 'changed', key: row.new } : { kind: 'revoked' };
}
