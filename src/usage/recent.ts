import type { Database } from '../db/client.js';
import { tokenState } from '../db/tokenState.js';
import type { OrgId } from '../domain/ids.js';
import { EXPIRES_SOON_DAYS } from '../domain/tokenState.js';
import { type DaySums, sumsJson, sumsOf } from './month.js';

export interface Recent {
  /** The last 30 days, oldest first, days without use included. */
  readonly days: readonly (DaySums & { readonly date: string; readonly models: readonly ModelShare[] })[];
  readonly today: Compared;
  readonly week: Compared;
  readonly thirty_days: Compared;
  /** What cost most in the last 30 days. */
  readonly top_models: readonly { readonly model: string; readonly requests: number; readonly cost: number }[];
  /** Tokens that need somebody: at their quota, near their end, or forgotten. */
  readonly attention: readonly {
    readonly token_id: string;
    readonly name: string;
    readonly reason: 'quota_used' | 'expired' | 'expires_soon' | 'unused';
  }[];
}

/** Of one day; null = all but the five that cost most in the last 30 days. The shares add up to the day. */
export interface ModelShare {
  readonly model: string | null;
  readonly requests: number;
  readonly cost: number;
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
    where r.org_id = $1 and r.day > p.today - 60 and r.day <= p.today
      and ($3::text[] is null or r.token_id = any ($3::text[])) group by r.day, r.model
  ), days as materialized (
    select d::date as day, ${sumsOf('u')} from place p cross join generate_series(p.today - 59, p.today, interval '1 day') d
    left join used u on u.day = d::date group by d
  ), top as materialized (
    select u.model, sum(u.requests)::bigint as requests, sum(u.cost)::bigint as cost from used u cross join place p
    where u.day > p.today - 30 group by u.model order by 3 desc, 1 limit 5
  ), shares as (
    select u.day, t.model, sum(u.requests)::bigint as requests, sum(u.cost)::bigint as cost from used u left join top t using (model) group by u.day, t.model
  ), attention as (
    select t.token_id, t.name, case when s.state <> 'active' then s.state
      when t.expires_at <= $2::timestamptz + interval '${EXPIRES_SOON_DAYS} days' then 'expires_soon'
      when coalesce(u.last_used_at, t.created_at) < $2::timestamptz - interval '90 days' then 'unused' end as reason
    from tokens t join token_use u using (token_id) cross join lateral (select ${tokenState('$2::timestamptz')} as state) s where t.org_id = $1 and t.status = 'active'
      and ($3::text[] is null or t.token_id = any ($3::text[]))
  )
  select jsonb_build_object(
    'days', (select jsonb_agg(jsonb_build_object('date', d.day, ${sumsJson('d')}, 'models', coalesce((
        select jsonb_agg(jsonb_build_object('model', s.model, 'requests', s.requests, 'cost', s.cost) order by s.model is null, s.cost desc, s.model)
        from shares s where s.day = d.day), '[]')) order by d.day)
      from days d cross join place p where d.day > p.today - 30),
    'today', jsonb_build_object('now', ${sum('d.day = p.today')}, 'before', ${sum('d.day = p.today - 1')}),
    'week', jsonb_build_object('now', ${sum('d.day > p.today - 7')}, 'before', ${sum('d.day between p.today - 13 and p.today - 7')}),
    'thirty_days', jsonb_build_object('now', ${sum('d.day > p.today - 30')}, 'before', ${sum('d.day <= p.today - 30')}),
    'top_models', coalesce((select jsonb_agg(to_jsonb(m) order by m.cost desc, m.model) from top m), '[]'),
    'attention', coalesce((select jsonb_agg(to_jsonb(a) order by a.reason, a.name) from (
      select * from attention where reason is not null order by reason, name limit 20) a), '[]')) as recent
  from place`;
