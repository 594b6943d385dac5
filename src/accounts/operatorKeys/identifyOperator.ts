import type { Database } from '../../db/client.js';
import { mayComeFrom } from '../../domain/addresses.js';
import { digestOf, operatorKeyIdOf, sameSecret } from '../../domain/secrets.js';
import type { Operator } from '../actor.js';
import type { OperatorRole } from '../roles/permissions.js';

export type IdentifiedOperator =
  | { readonly kind: 'known'; readonly actor: Operator }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'revoked' }
  | { readonly kind: 'expired' }
  /** Its secret is right, its place is not. */
  | { readonly kind: 'elsewhere' };

export interface OperatorDoor {
  readonly db: Database;
  readonly pepper: string;
  /** The key of the data folder, which no other key can take away. */
  readonly operatorKey: string;
  /** From where that one may be used; null = from anywhere. */
  readonly operatorKeyIps: readonly string[] | null;
}

/** Whose key this is, asked anew every time: a revoked key ends with the call before. A wrong check digit costs no look-up. */
export async function identifyOperator(
  door: OperatorDoor,
  asked: { readonly secret: string; readonly address: string | undefined; readonly nowMs: number },
): Promise<IdentifiedOperator> {
  const { secret, address, nowMs } = asked;
  if (sameSecret(secret, door.operatorKey))
    return mayComeFrom(door.operatorKeyIps, address) ? { kind: 'known', actor: { kind: 'operator' } } : { kind: 'elsewhere' };
  const id = operatorKeyIdOf(secret);
  if (!id) return { kind: 'unknown' };
  const row = await door.db.one<{ role: OperatorRole; ips: readonly string[] | null; is_revoked: boolean; is_expired: boolean }>(
    `
    with found as (
      select *, revoked_at is not null as is_revoked, coalesce(expires_at <= $3::timestamptz, false) as is_expired from operator_keys
      where operator_key_id = $1 and (digest = $2 or grace_digest = $2 and grace_ends_at > $3::timestamptz)
    ), used as (
      update operator_keys k set last_used_at = $3::timestamptz from found f
      where k.operator_key_id = f.operator_key_id and not f.is_revoked and not f.is_expired
        and (f.last_used_at is null or f.last_used_at < $3::timestamptz - interval '1 minute')
    )
    select role, ips, is_revoked, is_expired from found`,
    [id, digestOf(secret, door.pepper), new Date(nowMs)],
    { idempotent: true },
  );
  if (!row) return { kind: 'unknown' };
  if (row.is_revoked) return { kind: 'revoked' };
  if (row.is_expired) return { kind: 'expired' };
  if (!mayComeFrom(row.ips, address)) return { kind: 'elsewhere' };
  return { kind: 'known', actor: { kind: 'operator', key: { id, role: row.role } } };
}
