/** An expected "no" from the hot store: returned, never thrown. Amounts are micro-credits. */
export type Refusal =
  | { readonly kind: 'unknown_token' }
  | { readonly kind: 'token_revoked' }
  | { readonly kind: 'token_expired' }
  | { readonly kind: 'token_paused' }
  | { readonly kind: 'org_suspended' }
  | {
      readonly kind: 'rate_limited';
      readonly scope: 'requests' | 'tokens' | 'concurrency';
      readonly limit: number;
      readonly retryAfterMs: number;
    }
  | {
      readonly kind: 'short';
      /** Which cap said no: the wallet, one of the token's quotas, its member's monthly quota, or the organization's monthly limit. */
      readonly scope: 'balance' | 'quota' | 'member' | 'limit' | 'non_critical';
      /** Which of the token's quotas; only for the scope `quota`. */
      readonly window?: 'total' | 'daily' | 'weekly' | 'monthly';
      readonly required: number;
      /** What could have been held right now; may be negative. */
      readonly available: number;
      /** Set aside by running requests: if `available + inFlight >= required`, waiting helps. */
      readonly inFlight: number;
      /** When a quota or limit starts again, in ms; 0 = never. */
      readonly resetsAtMs: number;
    };

export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
