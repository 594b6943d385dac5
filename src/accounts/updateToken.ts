import type { OrgId, TokenId } from '../domain/ids.js';
import { nameOf } from './actor.js';
import { type AboveCeiling, quotaArray } from './ceiling.js';
import type { AccountsContext, Projected } from './context.js';
import { QUIET, TOKEN_VIEW, type Token, type TokenChanges } from './token.js';

export type UpdatedToken =
  | { readonly kind: 'updated'; readonly token: Token; readonly effect: Projected }
  | { readonly kind: 'unknown_token' }
  /** A revoked token stays revoked. */
  | { readonly kind: 'revoked' }
  | AboveCeiling
  /** Somebody else was first: this is how it looks now. */
  | { readonly kind: 'changed'; readonly token: Token };

/** The columns of a new secret; nobody but `rotateToken` sets them. */
export interface SecretChanges {
  readonly digest: string;
  readonly last_four: string;
  readonly grace_digest: string | null;
  readonly grace_ends_at: string | null;
}

export type TokenAction = 'token.update' | 'token.pause' | 'token.resume' | 'token.revoke' | 'token.rotate';

/** Changes what a token may do. One statement: the row, and the line in the audit log that says so, without secrets. */
export async function updateToken(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  tokenId: TokenId;
  /** Only if it is this person's; null = whosever. */
  ownerId: string | null;
  action: TokenAction;
  changes: TokenChanges | SecretChanges;
  /** Raises quotas by this much, up to what an amount may be; one that is not there stays away. */
  add?: Partial<Pick<TokenChanges, 'quota_total' | 'quota_daily' | 'quota_weekly' | 'quota_monthly'>>;
  ifMatch: string | null;
  /** Whether the ceiling of the organization counts for whoever asks. */
  isBounded?: boolean;
}): Promise<UpdatedToken> {
  const { ctx, tokenId, action } = what;
  const { db } = ctx;
  const rows = await db.query<{ old: Token; new: Token | null; ceiling: number | null; above: AboveCeiling['quotas'] }>(
    `
    with t as (
      select * from tokens where token_id = $1 and org_id = $2 and ($8::text is null or owner_id = $8::text) for update
    ), seen as (
      select token_id, digest, ${TOKEN_VIEW} as view, to_jsonb(t) - '${QUIET}'::text[] as facts from t
    ), wanted as (
      select r.* from t cross join lateral jsonb_populate_record(null::tokens, to_jsonb(t) || $3::text::jsonb || coalesce((
        select jsonb_object_agg(key, least(999999999999999, (to_jsonb(t)->>key)::bigint + value::bigint))
        from jsonb_each_text($7::text::jsonb) where to_jsonb(t)->>key is not null), '{}')) r
    ), bound as (
      select o.max_token_quota as ceiling, quotas_above(${quotaArray('t')}, ${quotaArray('r')}, o.max_token_quota) as above
      from t join wanted r using (token_id) join organizations o on o.org_id = t.org_id and $9
    ), changed as (
      update tokens k set
        (name, project, agent, status, expires_at, quota_total, quota_daily, quota_weekly, quota_monthly, requests_per_minute,
         tokens_per_minute, concurrency, critical, models, ips, digest, last_four, grace_digest, grace_ends_at) = (
          select r.name, r.project, r.agent, r.status, r.expires_at, r.quota_total, r.quota_daily, r.quota_weekly, r.quota_monthly,
            r.requests_per_minute, r.tokens_per_minute, r.concurrency, r.critical, r.models, r.ips, r.digest, r.last_four,
            case when r.grace_ends_at is null then null when r.digest <> k.digest then k.digest else r.grace_digest end, r.grace_ends_at
          from wanted r)
      from seen where k.token_id = seen.token_id and (seen.view->>'status' <> 'revoked' or $4 = 'token.revoke')
        and ($5::text is null or seen.view->>'etag' = $5::text) and not exists (select from bound where above <> '{}')
      returning k.*
    ), after as (
      select token_id, org_id, digest, ${TOKEN_VIEW} as view, to_jsonb(t) - '${QUIET}'::text[] as facts from changed t
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select after.org_id, $6, $4, after.token_id, jsonb_build_object(
        'before', (select jsonb_object_agg(key, value) from jsonb_each(seen.facts) where after.facts->key is distinct from value),
        'after', (select jsonb_object_agg(key, value) from jsonb_each(after.facts) where seen.facts->key is distinct from value))
      from after join seen using (token_id) where after.facts is distinct from seen.facts or after.digest <> seen.digest
    )
    select seen.view as old, after.view as new, bound.ceiling, coalesce(bound.above, '{}') as above
    from seen left join after using (token_id) left join bound on true`,
    [
      tokenId,
      what.orgId,
      JSON.stringify(what.changes),
      action,
      what.ifMatch,
      nameOf(ctx.actor),
      JSON.stringify(what.add ?? {}),
      what.ownerId,
      what.isBounded ?? false,
    ],
    { idempotent: what.ifMatch === null && what.add === undefined && action !== 'token.rotate' },
  );
  const row = rows[0];
  if (!row) return { kind: 'unknown_token' };
  if (row.new) return { kind: 'updated', token: row.new, effect: await ctx.project.token(tokenId) };
  if (row.old.status === 'revoked' && action !== 'token.revoke') return { kind: 'revoked' };
  const isStale = what.ifMatch !== null && what.ifMatch !== row.old.etag;
  if (!isStale && row.ceiling !== null && row.above.length > 0) return { kind: 'above_ceiling', ceiling: row.ceiling, quotas: row.above };
  return { kind: 'changed', token: row.old };
}
