import { newTokenId, type OrgId, type TokenId } from '../domain/ids.js';
import { digestOf, newTokenSecret } from '../domain/secrets.js';
import { nameOf } from './actor.js';
import { type AboveCeiling, quotaArray } from './ceiling.js';
import { claimKey, type IdempotencyKey } from './claimKey.js';
import type { AccountsContext, Projected } from './context.js';
import { QUIET, QUOTA_TOKENS_MAX, TOKEN_VIEW, type Token, type TokenChanges } from './token.js';

export type CreatedToken =
  /** The secret is shown here and nowhere else: only a keyed digest of it is stored. */
  | { readonly kind: 'created'; readonly token: Token; readonly secret: string; readonly effect: Projected }
  | { readonly kind: 'unknown_org' }
  /** Of a member with a monthly quota: each request looks at all of their tokens. */
  | { readonly kind: 'too_many_tokens' }
  | AboveCeiling
  | { readonly kind: 'idempotency_mismatch' };

export async function createToken(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  input: TokenChanges & { readonly name: string };
  key?: IdempotencyKey | undefined;
  /** Whether the ceiling of the organization counts for whoever asks. */
  isBounded?: boolean;
}): Promise<CreatedToken> {
  const { ctx, orgId, input } = what;
  let tokenId = newTokenId(orgId);
  let secret = newTokenSecret(tokenId);
  if (what.key) {
    const claim = await claimKey({ ctx, key: what.key, memo: `${tokenId} ${secret}` });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    const [id = '', text = ''] = claim.memo.split(' ');
    [tokenId, secret] = [id as TokenId, text];
  }
  const row = {
    ...DEFAULTS,
    ...input,
    token_id: tokenId,
    digest: digestOf(secret, ctx.pepper),
    last_four: secret.slice(-4),
    created_by: nameOf(ctx.actor),
    owner_id: ctx.actor.kind === 'person' && ctx.actor.orgId === orgId ? ctx.actor.id : null,
  };
  const isBounded = what.isBounded ?? false;
  const token = (await insert(ctx, orgId, row, isBounded)) ?? (await existing(ctx, orgId, tokenId));
  if (!token) return whyNot(ctx, orgId, row, isBounded);
  return { kind: 'created', token, secret, effect: await ctx.project.token(tokenId) };
}

const DEFAULTS = { status: 'active', requests_per_minute: 0, tokens_per_minute: 0, concurrency: 0, critical: false };

async function insert(ctx: AccountsContext, orgId: OrgId, row: object, isBounded: boolean): Promise<Token | undefined> {
  const { db } = ctx;
  const rows = await db.query<{ token: Token }>(
    `
    with t as (
      insert into tokens (token_id, org_id, name, project, agent, created_by, owner_id, last_four, digest, status, expires_at, quota_total,
        quota_daily, quota_weekly, quota_monthly, requests_per_minute, tokens_per_minute, concurrency, critical, models, ips)
      select r.token_id, o.org_id, r.name, r.project, r.agent, r.created_by, r.owner_id, r.last_four, r.digest, r.status, r.expires_at, r.quota_total,
        r.quota_daily, r.quota_weekly, r.quota_monthly, r.requests_per_minute, r.tokens_per_minute, r.concurrency, r.critical, r.models, r.ips
      from jsonb_populate_record(null::tokens, $1::text::jsonb) r
      join organizations o on o.org_id = $2 and coalesce(quota_token_count($2, r.owner_id), 0) < ${QUOTA_TOKENS_MAX}
        and (not $4 or quotas_above(null, ${quotaArray('r')}, o.max_token_quota) = '{}')
      on conflict (token_id) do nothing
      returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select t.org_id, $3, 'token.create', t.token_id,
        jsonb_build_object('after', jsonb_strip_nulls(to_jsonb(t) - '${QUIET}'::text[])) from t
    )
    select ${TOKEN_VIEW} as token from t`,
    [JSON.stringify(row), orgId, nameOf(ctx.actor), isBounded],
    { idempotent: true },
  );
  return rows[0]?.token;
}

async function whyNot(
  { db }: AccountsContext,
  orgId: OrgId,
  row: { readonly owner_id: string | null },
  isBounded: boolean,
): Promise<Extract<CreatedToken, { kind: 'unknown_org' | 'too_many_tokens' | 'above_ceiling' }>> {
  const found = await db.one<{ tokens: number | null; ceiling: number; above: AboveCeiling['quotas'] }>(
    `
    select quota_token_count(o.org_id, r.owner_id) as tokens, o.max_token_quota as ceiling,
      case when $3 then quotas_above(null, ${quotaArray('r')}, o.max_token_quota) else '{}' end as above
    from organizations o, jsonb_populate_record(null::tokens, $1::text::jsonb) r where o.org_id = $2`,
    [JSON.stringify(row), orgId, isBounded],
    { idempotent: true },
  );
  if (!found) return { kind: 'unknown_org' };
  if (found.above.length > 0) return { kind: 'above_ceiling', ceiling: found.ceiling, quotas: found.above };
  return { kind: 'too_many_tokens' };
}

async function existing({ db }: AccountsContext, orgId: OrgId, tokenId: TokenId): Promise<Token | undefined> {
  const rows = await db.query<{ token: Token }>(
    `
    select ${TOKEN_VIEW} as token from tokens t where token_id = $1 and org_id = $2`,
    [tokenId, orgId],
    { idempotent: true },
  );
  return rows[0]?.token;
}
