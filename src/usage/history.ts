import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { type DaySums, sumsJson, sumsOf } from './month.js';

export interface UsageYear {
  readonly time_zone: string;
  readonly year: number;
  readonly months: readonly HistoryMonth[];
  readonly totals: DaySums;
}

export interface HistoryMonth extends DaySums {
  readonly month: string;
  readonly allowed_limit: number | null;
  /** Of the month before, also when that was last year. */
  readonly cost_before: number;
}

/** The months of a year that have begun, newest first. `year` null = this one. */
export async function readYear(what: {
  db: Database;
  orgId: OrgId;
  year: number | null;
  nowMs: number;
  onlyTokens: readonly string[] | null;
}): Promise<UsageYear | undefined> {
  const row = await what.db.one<{ year: UsageYear }>(YEAR, [what.orgId, what.year, new Date(what.nowMs), what.onlyTokens], {
    idempotent: true,
  });
  return row?.year;
}

const YEAR = `
  with place as materialized (
    select time_zone, ($3::timestamptz at time zone time_zone)::date as today,
      make_date(coalesce($2::int, extract(year from $3::timestamptz at time zone time_zone)::int), 1, 1) as first
    from organizations where org_id = $1
  ), used as materialized (
    select date_trunc('month', r.day)::date as month, ${sumsOf('r')} from usage_rollups r, place p
    where r.org_id = $1 and r.day >= p.first - interval '1 month' and r.day < p.first + interval '1 year'
      and ($4::text[] is null or r.token_id = any ($4::text[])) group by 1
  ), months as (
    select m::date as month from place p, generate_series(p.first, least(p.first + interval '11 months', p.today), interval '1 month') m
  )
  select jsonb_build_object('time_zone', p.time_zone, 'year', extract(year from p.first)::int,
    'months', coalesce((select jsonb_agg(jsonb_build_object('month', to_char(m.month, 'YYYY-MM'),
        'requests', coalesce(u.requests, 0), 'errors', coalesce(u.errors, 0), 'input', coalesce(u.input, 0),
        'cached_input', coalesce(u.cached_input, 0), 'output', coalesce(u.output, 0), 'cost', coalesce(u.cost, 0),
        'cost_before', coalesce(b.cost, 0),
        'allowed_limit', (select v.allowed_limit from limit_versions v where v.org_id = $1
          and v.from_at < (m.month + interval '1 month') at time zone p.time_zone order by v.id desc limit 1)) order by m.month desc)
      from months m left join used u on u.month = m.month left join used b on b.month = (m.month - interval '1 month')::date), '[]'),
    'totals', (select jsonb_build_object(${sumsJson('t')}) from (
      select ${sumsOf('u')} from used u where u.month >= p.first) t)) as year
  from place p`;
