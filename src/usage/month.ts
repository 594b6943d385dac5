import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** What a stretch of days adds up to. `cost` in micro-credits; everything is of the organization's own days. */
export interface DaySums {
  readonly requests: number;
  readonly errors: number;
  readonly input: number;
  readonly cached_input: number;
  readonly output: number;
  readonly cost: number;
}

export interface UsageDay extends DaySums {
  readonly date: string;
  /** The model that cost most. */
  readonly top: { readonly model: string; readonly endpoint: string; readonly cost: number } | null;
}

export interface UsageMonth {
  readonly time_zone: string;
  readonly month: string;
  readonly today: string;
  readonly starts_at: string;
  readonly ends_at: string;
  /** In force at the end of the month, or now. */
  readonly alert_threshold: number | null;
  readonly allowed_limit: number | null;
  readonly aggregated_at: string;
  readonly days: readonly UsageDay[];
  readonly totals: DaySums;
  /** For the running month: the 28 days before today, to project from; days without use are left out. */
  readonly before: readonly { readonly date: string; readonly cost: number }[];
  /** For the running month: the first day before today that anything was used on at all. */
  readonly first_used: string | null;
  /** How much of today is over, in thousandths. */
  readonly today_gone: number;
}

export const SUMS = ['requests', 'errors', 'input', 'cached_input', 'output', 'cost'] as const;

/** `coalesce(sum(r.cost), 0)::bigint as cost`, for each of the sums. */
export const sumsOf = (alias: string): string => SUMS.map((name) => `coalesce(sum(${alias}.${name}), 0)::bigint as ${name}`).join(', ');
export const sumsJson = (alias: string): string => SUMS.map((name) => `'${name}', ${alias}.${name}`).join(', ');

/** One month of an organization, from the rollups alone. `month` is "2026-11"; null = the one that runs. */
export async function readMonth(what: {
  db: Database;
  orgId: OrgId;
  month: string | null;
  nowMs: number;
  onlyTokens: readonly string[] | null;
}): Promise<UsageMonth | undefined> {
  const first = what.month === null ? null : `${what.month}-01`;
  const row = await what.db.one<{ month: UsageMonth }>(MONTH, [what.orgId, first, new Date(what.nowMs), what.onlyTokens], {
    idempotent: true,
  });
  return row?.month;
}

const MONTH = `
  with place as materialized (
    select time_zone, ($3::timestamptz at time zone time_zone)::date as today,
      coalesce($2::text::date, date_trunc('month', $3::timestamptz at time zone time_zone)::date) as first
    from organizations where org_id = $1
  ), bounds as materialized (
    -- The running month is projected from the 28 days before today: one scan reads both.
    select *, case when date_trunc('month', today) = first then least(first, today - 28) else first end as seen_from, (first + interval '1 month')::date as next, first::timestamp at time zone time_zone as starts_at,
      (first + interval '1 month')::timestamp at time zone time_zone as ends_at from place
  ), used as materialized (
    select r.day, r.model, r.endpoint, ${sumsOf('r')} from usage_rollups r, bounds b
    where r.org_id = $1 and r.day >= b.seen_from and r.day < b.next
      and ($4::text[] is null or r.token_id = any ($4::text[])) group by r.day, r.model, r.endpoint
  ), days as (
    select u.day, ${sumsOf('u')}, (array_agg(jsonb_build_object('model', u.model, 'endpoint', u.endpoint, 'cost', u.cost)
      order by u.cost desc, u.requests desc, u.model))[1] as top
    from used u cross join bounds b where u.day >= b.first group by u.day
  ), shown as (
    select d::date as day from bounds b, generate_series(b.first, least(b.next - 1, b.today), interval '1 day') d
    union select day from days
  ), limits as (
    select v.alert_threshold, v.allowed_limit from limit_versions v, bounds b
    where v.org_id = $1 and v.from_at < b.ends_at order by v.id desc limit 1
  )
  select jsonb_build_object('time_zone', b.time_zone, 'month', to_char(b.first, 'YYYY-MM'), 'today', b.today,
    'starts_at', b.starts_at, 'ends_at', b.ends_at, 'aggregated_at', $3::timestamptz,
    'alert_threshold', (select alert_threshold from limits), 'allowed_limit', (select allowed_limit from limits),
    'days', coalesce((select jsonb_agg(jsonb_build_object('date', s.day, 'top', d.top,
        ${SUMS.map((name) => `'${name}', coalesce(d.${name}, 0)`).join(', ')}) order by s.day desc)
      from shown s left join days d on d.day = s.day), '[]'),
    'totals', (select jsonb_build_object(${sumsJson('t')}) from (select ${sumsOf('d')} from days d) t),
    'before', coalesce((select jsonb_agg(jsonb_build_object('date', p.day, 'cost', p.cost) order by p.day)
      from (select u.day, sum(u.cost)::bigint as cost from used u
        where b.seen_from <= b.today - 28 and u.day >= b.today - 28 and u.day < b.today group by u.day) p), '[]'),
    'first_used', (select min(r.day) from usage_rollups r where r.org_id = $1 and r.day < b.today and b.seen_from <= b.today - 28
      and ($4::text[] is null or r.token_id = any ($4::text[]))),
    'today_gone', floor(1000 * extract(epoch from $3::timestamptz - b.today::timestamp at time zone b.time_zone)
      / extract(epoch from (b.today + 1)::timestamp at time zone b.time_zone - b.today::timestamp at time zone b.time_zone))::int) as month
  from bounds b`;
