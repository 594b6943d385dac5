import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { type DaySums, sumsJson, sumsOf } from './month.js';

export interface Recent {
  /** The last 30 days, oldest first, days without use included. */
  readonly days: readonly (DaySums & { readonly date: string })[];
  readonly today: Compared;
  readonly week: Compared;
  /** What cost most in the last 30 days. */
  readonly top_models: readonly { readonly model: string; readonly requests: number; readonly cost: number }[];
  /** Tokens that need somebody: at their quota, or near their end. */
  readonly attention: readonly {
    readonly token_id: string;
    readonly name: string;
    readonly reason: 'quota_used' | 'expired' | 'expires_soon';
  }[];
}

/** `before`: the same stretch just before it. */
export interface Compared {
  readonly now: DaySums;
  readonly before: DaySums;
}

/** What an overview shows beside the month; from the rollups. */
export async function readRecent(what: {
  db: Database;
  orgId: OrgId;
  nowMs: number;
  onlyTokens: readonly string[] | null;
}): Promise<Recent | undefined> {
  const row = await what.db.one<{ recent: Recent }>(RECENT, [what.orgId, new Date(what.nowMs), what.onlyTokens], { idempotent: true });
  return row?.recent;
}

const sum = (condition: string): string => `(select jsonb_build_object(${sumsJson('t')}) from (
  select ${sumsOf('d')} from days d cross join place p where ${condition}) t)`;

const RECENT = `
  with place as materialized (
    select time_zone, ($2::timestamptz at time zone time_zone)::date as today from organizations where org_id = $1
  ), used as materialized (
    select r.day, r.model, ${sumsOf('r')} from usage_rollups r cross join place p
    where r.org_id = $1 and r.day > p.today - 30 and r.day <= p.today
      and ($3::text[] is null or r.token_id = any ($3::text[])) group by r.day, r.model
  ), days as materialized (
    select d::date as day, ${sumsOf('u')} from place p cross join generate_series(p.today - 29, p.today, interval '1 day') d
    left join used u on u.day = d::date group by d
  ), attention as (
    select t.token_id, t.name, case when t.expires_at <= $2::timestamptz then 'expired'
      when u.total >= t.quota_total or u.daily >= t.quota_daily and u.daily_ends_at > $2::timestamptz
        or u.weekly >= t.quota_weekly and u.weekly_ends_at > $2::timestamptz
        or u.monthly >= t.quota_monthly and u.monthly_ends_at > $2::timestamptz then 'quota_used'
      when t.expires_at <= $2::timestamptz + interval '7 days' then 'expires_soon' end as reason
    from tokens t join token_use u using (token_id) where t.org_id = $1 and t.status = 'active'
      and ($3::text[] is null or t.token_id = any ($3::text[]))
  )
  select jsonb_build_object(
    'days', (select jsonb_agg(jsonb_build_object('date', d.day, ${sumsJson('d')}) order by d.day) from days d),
    'today', jsonb_build_object('now', ${sum('d.day = p.today')}, 'before', ${sum('d.day = p.today - 1')}),
    'week', jsonb_build_object('now', ${sum('d.day > p.today - 7')}, 'before', ${sum('d.day between p.today - 13 and p.today - 7')}),
    'top_models', coalesce((select jsonb_agg(to_jsonb(m) order by m.cost desc, m.model) from (
      select u.model, sum(u.requests)::bigint as requests, sum(u.cost)::bigint as cost from used u
      group by u.model order by 3 desc, 1 limit 5) m), '[]'),
    'attention', coalesce((select jsonb_agg(to_jsonb(a) order by a.reason, a.name) from (
      select * from attention where reason is not null order by reason, name limit 20) a), '[]')) as recent
  from place`;
