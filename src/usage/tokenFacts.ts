import type { Database } from '../db/client.js';
import type { OrgId, TokenId } from '../domain/ids.js';

/** What a token may know about itself, and what decides how much it can spend. Micro-credits. */
export interface TokenFacts {
  readonly token_id: TokenId;
  readonly org_id: OrgId;
  readonly name: string;
  readonly digest: string;
  readonly grace_digest: string | null;
  readonly status: 'active' | 'paused' | 'revoked';
  readonly is_grace: boolean;
  readonly is_expired: boolean;
  readonly org_status: 'active' | 'suspended';
  readonly ips: readonly string[] | null;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly requests_per_minute: number;
  readonly time_zone: string;
  readonly quotas: Readonly<Record<Window, number | null>>;
  readonly used: Readonly<Record<Window, number>>;
  /** Booked, overdraft included; what runs at this moment is not in it. */
  readonly spendable: number;
  readonly month_left: number | null;
  /** Of the monthly quota that the tokens of its owner share. */
  readonly member_left: number | null;
}

export type Window = 'total' | 'daily' | 'weekly' | 'monthly';

export async function readTokenFacts(db: Database, tokenId: TokenId, nowMs: number): Promise<TokenFacts | undefined> {
  const row = await db.one<{ facts: TokenFacts }>(FACTS, [tokenId, new Date(nowMs)], { idempotent: true });
  return row?.facts;
}

const FACTS = `
  select jsonb_build_object('token_id', t.token_id, 'org_id', t.org_id, 'name', t.name, 'digest', t.digest, 'grace_digest', t.grace_digest,
    'status', t.status, 'is_grace', coalesce(t.grace_ends_at > $2::timestamptz, false),
    'is_expired', coalesce(t.expires_at <= $2::timestamptz, false), 'org_status', o.status, 'ips', t.ips, 'created_at', t.created_at,
    'expires_at', t.expires_at, 'requests_per_minute', t.requests_per_minute, 'time_zone', o.time_zone,
    'quotas', jsonb_build_object('total', t.quota_total, 'daily', t.quota_daily, 'weekly', t.quota_weekly, 'monthly', t.quota_monthly),
    'used', jsonb_build_object('total', u.total,
      'daily', case when u.daily_ends_at > $2::timestamptz then u.daily else 0 end,
      'weekly', case when u.weekly_ends_at > $2::timestamptz then u.weekly else 0 end,
      'monthly', case when u.monthly_ends_at > $2::timestamptz then u.monthly else 0 end),
    'spendable', b.avail + o.overdraft,
    'month_left', o.monthly_limit - case when b.month_ends_at > $2::timestamptz then b.month_spent else 0 end,
    'member_left', (select m.monthly_quota - coalesce((select sum(v.monthly) from tokens s join token_use v on v.token_id = s.token_id
        where s.org_id = m.org_id and s.owner_id = m.person_id and v.monthly_ends_at > $2::timestamptz), 0)
      from org_members m where m.org_id = t.org_id and m.person_id = t.owner_id)) as facts
  from tokens t join token_use u using (token_id) join organizations o on o.org_id = t.org_id join org_balances b on b.org_id = t.org_id
  where t.token_id = $1`;
