import { newOperatorKeyId, type OperatorKeyId } from '../../domain/ids.js';
import { digestOf, newOperatorSecret } from '../../domain/secrets.js';
import { nameOf } from '../actor.js';
import { claimKey, type IdempotencyKey } from '../claimKey.js';
import type { AccountsContext } from '../context.js';
import type { OperatorRole } from '../roles/permissions.js';
import { OPERATOR_KEY_FACTS, OPERATOR_KEY_VIEW, type OperatorKey } from './operatorKey.js';

export type CreatedOperatorKey =
  /** The secret is shown here and nowhere else: only a keyed digest of it is stored. */
  { readonly kind: 'created'; readonly key: OperatorKey; readonly secret: string } | { readonly kind: 'idempotency_mismatch' };

export async function createOperatorKey(what: {
  ctx: Pick<AccountsContext, 'db' | 'actor' | 'pepper'>;
  input: {
    readonly name: string;
    readonly role: OperatorRole;
    readonly ips: readonly string[] | null;
    readonly expires_at: string | null;
  };
  key?: IdempotencyKey | undefined;
}): Promise<CreatedOperatorKey> {
  const { ctx, input } = what;
  let id = newOperatorKeyId();
  let secret = newOperatorSecret(id);
  if (what.key) {
    const claim = await claimKey({ ctx, key: what.key, memo: `${id} ${secret}` });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    const [madeId = '', text = ''] = claim.memo.split(' ');
    [id, secret] = [madeId as OperatorKeyId, text];
  }
  const row = await ctx.db.one<{ key: OperatorKey }>(
    `
    with k as (
      insert into operator_keys (operator_key_id, name, role, ips, expires_at, digest, last_four, created_by)
      values ($1, $2, $3, $4::text[], $5::timestamptz, $6, $7, $8)
      on conflict (operator_key_id) do update set operator_key_id = excluded.operator_key_id returning *, xmax = 0 as is_new
    ), audited as (
      insert into audit_log (actor, action, subject, details)
      select $8, 'operator_key.create', k.operator_key_id, jsonb_build_object('after', jsonb_strip_nulls(${OPERATOR_KEY_FACTS} - 'is_new'))
      from k where k.is_new
    )
    select ${OPERATOR_KEY_VIEW} - 'is_new' as key from k`,
    [id, input.name, input.role, input.ips, input.expires_at, digestOf(secret, ctx.pepper), secret.slice(-4), nameOf(ctx.actor)],
    { idempotent: true },
  );
  if (!row) throw new Error('an operator key was not written');
  return { kind: 'created', key: row.key, secret };
}
