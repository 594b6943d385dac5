import { createHash } from 'node:crypto';
import { base62 } from '../domain/ids.js';
import { nameOf } from './actor.js';
import type { AccountsContext } from './context.js';
import { type Place, seal, unseal } from './seal.js';

/** The client's `Idempotency-Key`, within the organization and route it was used for, and what was asked. Each actor's are their own. */
export interface IdempotencyKey {
  readonly scope: string;
  readonly key: string;
  readonly request: unknown;
}

export type Claim =
  /** `memo` is what the first request with this key decided: its ids and secrets. Using it again makes nothing twice. */
  { readonly kind: 'claimed'; readonly memo: string; readonly repeated: boolean } | { readonly kind: 'mismatch' };

/**
 * Remembers for 24 hours what a key stands for, before anything is done. Whoever repeats the key gets the first memo
 * back and goes the same way again, so a crash between the two steps costs nothing.
 */
export async function claimKey(what: {
  ctx: Pick<AccountsContext, 'db' | 'actor' | 'pepper'>;
  key: IdempotencyKey;
  memo: string;
}): Promise<Claim> {
  const { ctx, key } = what;
  const hash = createHash('sha256').update(JSON.stringify(key.request)).digest('hex');
  const mark = base62(16);
  const scope = `${key.scope} ${nameOf(ctx.actor)}`;
  const place: Place = ['idempotency_keys', scope, key.key];
  const response = JSON.stringify({ mark, memo: seal(what.memo, ctx.pepper, place) });
  const rows = await ctx.db.query<{ request_hash: string; mark: string; memo: string }>(
    `
    insert into idempotency_keys as k (scope, key, request_hash, response)
    values ($1, $2, $3, $4::text::jsonb)
    on conflict (scope, key) do update set
      request_hash = case when k.expires_at < now() then excluded.request_hash else k.request_hash end,
      response = case when k.expires_at < now() then excluded.response else k.response end,
      created_at = case when k.expires_at < now() then now() else k.created_at end,
      expires_at = case when k.expires_at < now() then excluded.expires_at else k.expires_at end
    returning request_hash, response->>'mark' as mark, response->>'memo' as memo`,
    [scope, key.key, hash, response],
    { idempotent: true },
  );
  const row = rows[0];
  if (!row) throw new Error('an idempotency key was neither written nor found');
  if (row.request_hash !== hash) return { kind: 'mismatch' };
  return { kind: 'claimed', memo: unseal(row.memo, ctx.pepper, place), repeated: row.mark !== mark };
}
