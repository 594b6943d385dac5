import type { OperatorRole } from '../roles/permissions.js';

/** An operator key as the verbs answer it: everything but its digests. */
export interface OperatorKey {
  readonly operator_key_id: string;
  readonly name: string;
  readonly role: OperatorRole;
  readonly last_four: string;
  readonly grace_ends_at: string | null;
  readonly ips: readonly string[] | null;
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  readonly created_by: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_used_at: string | null;
}

/** The row `k` of operator_keys. */
export const OPERATOR_KEY_VIEW = "to_jsonb(k) - '{digest,grace_digest}'::text[]";

/** What of a key belongs into an audit log. */
export const OPERATOR_KEY_FACTS = "to_jsonb(k) - '{digest,grace_digest,last_used_at,updated_at}'::text[]";
