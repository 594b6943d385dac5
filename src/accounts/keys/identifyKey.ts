import type { Database } from '../../db/client.js';
import { digestOf, keyIdOf } from '../../domain/secrets.js';
import type { KeyActor } from '../actor.js';
import type { Scope } from './scopes.js';

export type IdentifiedKey =
  | { readonly kind: 'known'; readonly actor: KeyActor }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'revoked' }
  | { readonly kind: 'expired' };

/** Whose key this is, asked anew every time: a revoked key ends with the call before. A wrong check digit costs no look-up. */
export async function identifyKey(what: { db: Database; secret: string; pepper: string; nowMs: number }): Promise<IdentifiedKey> {
  const keyId = keyIdOf(what.secret);
  if (!keyId) return { kind: 'unknown' };
  const row = await what.db.one<{ org_id: string; scopes: readonly Scope[]; is_revoked: boolean; is_expired: boolean }>(
    `
    with found as (
      select * from management_keys
      where key_id = $1 and (digest = $2 or grace_digest = $2 and grace_ends_at > $3::timestamptz)
    ), used as (
      update management_keys k set last_used_at = $3::timestamptz from found f
      where k.key_id = f.key_id and k.revoked_at is null
        and (f.last_used_at is null or f.last_used_at < $3::timestamptz - interval '1 minute')
    )
    select org_id, scopes, revoked_at is not null as is_revoked, coalesce(expires_at <= $3::timestamptz, false) as is_expired from found`,
    [keyId, digestOf(what.secret, what.pepper), new Date(what.nowMs)],
    { idempotent: true },
  );
  if (!row) return { kind: 'unknown' };
  if (row.is_revoked) return { kind: 'revoked' };
  if (row.is_expired) return { kind: 'expired' };
  return { kind: 'known', actor: { kind: 'key', id: keyId, orgId: row.org_id, scopes: new Set(row.scopes) } };
}
