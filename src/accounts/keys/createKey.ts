import { type KeyId, newKeyId, type OrgId } from '../../domain/ids.js';
import { digestOf, newManagementSecret } from '../../domain/secrets.js';
import { nameOf } from '../actor.js';
import { claimKey, type IdempotencyKey } from '../claimKey.js';
import type { AccountsContext } from '../context.js';
import { type BeyondOwnRole, beyondOwn } from './beyond.js';
import { KEY_FACTS, KEY_VIEW, type ManagementKey } from './key.js';
import type { Scope } from './scopes.js';

export type CreatedKey =
  /** The secret is shown here and nowhere else: only a keyed digest of it is stored. */
  | { readonly kind: 'created'; readonly key: ManagementKey; readonly secret: string }
  | { readonly kind: 'unknown_org' }
  | { readonly kind: 'idempotency_mismatch' }
  | BeyondOwnRole;

export async function createKey(what: {
  ctx: Pick<AccountsContext, 'db' | 'actor' | 'pepper'>;
  orgId: OrgId;
  input: { readonly name: string; readonly scopes: readonly Scope[]; readonly expires_at: string | null };
  key?: IdempotencyKey | undefined;
}): Promise<CreatedKey> {
  const { ctx, orgId, input } = what;
  const beyond = beyondOwn(ctx.actor, input.scopes);
  if (beyond) return beyond;
  let keyId = newKeyId();
  let secret = newManagementSecret(keyId);
  if (what.key) {
    const claim = await claimKey({ ctx, key: what.key, memo: `${keyId} ${secret}` });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    const [id = '', text = ''] = claim.memo.split(' ');
    [keyId, secret] = [id as KeyId, text];
  }
  const row = await ctx.db.one<{ key: ManagementKey }>(
    `
    with k as (
      insert into management_keys (key_id, org_id, name, scopes, expires_at, digest, last_four, created_by)
      select $1, o.org_id, $3, $4::text[], $5::timestamptz, $6, $7, $8
      from organizations o where o.org_id = $2
      on conflict (key_id) do update set key_id = excluded.key_id returning *, xmax = 0 as is_new
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select k.org_id, $8, 'key.create', k.key_id, jsonb_build_object('after', jsonb_strip_nulls(${KEY_FACTS} - 'is_new')) from k where k.is_new
    )
    select ${KEY_VIEW} - 'is_new' as key from k`,
    [keyId, orgId, input.name, input.scopes, input.expires_at, digestOf(secret, ctx.pepper), secret.slice(-4), nameOf(ctx.actor)],
    { idempotent: true },
  );
  return row ? { kind: 'created', key: row.key, secret } : { kind: 'unknown_org' };
}
