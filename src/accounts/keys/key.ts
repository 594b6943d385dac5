import type { Scope } from './scopes.js';

/** A management key as the verbs answer it: everything but its digests. */
export interface ManagementKey {
  readonly key_id: string;
  readonly org_id: string;
  readonly name: string;
  readonly last_four: string;
  readonly scopes: readonly Scope[];
  readonly grace_ends_at: string | null;
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  readonly created_by: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_used_at: string | null;
}

/** The row `k` of management_keys. */
export const KEY_VIEW = "to_jsonb(k) - '{digest,grace_digest}'::text[]";

/** What of a key belongs into an audit log. */
export const KEY_FACTS = "to_jsonb(k) - '{digest,grace_digest,last_used_at,updated_at}'::text[]";
