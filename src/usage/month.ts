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
  /** For the running month: the 28 days before today, to project from. */
  readonly before: readonly { readonly date: string; readonly cost: number }[];
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
    'today_gone', floor(1000 * extract(epoch from $3::timestamptz - b.today::timestamp at time zone b.time_zone)
      / extract(epoch from (b.today + 1)::timestamp at time zone b.time_zone - b.today::timestamp at time zone b.time_zone))::int) as month
  from bounds b`;

/**
 * used + for every day to come the mean of the same weekday in the last 28 days (or of all observed days) + the rest of
 * today pro rata. Null with fewer than three days to learn from: that would be a guess.
 */
export function projectMonth(month: UsageMonth): number | null {
  const { today, before, days } = month;
  if (!today.startsWith(month.month) || before.length < 3) return null;
  const end = Date.parse(month.ends_at.slice(0, 10)); // may be a day early or late, so days are compared by month below
  const meanOf = (costs: readonly number[]): number => Math.round(costs.reduce((sum, cost) => sum + cost, 0) / costs.length);
  const observed = observedDays(before, today);
  const overall = meanOf(observed.map(({ cost }) => cost));
  const usual = (date: string): number => {
    const same = observed.filter((one) => weekday(one.date) === weekday(date)).map(({ cost }) => cost);
    return same.length > 0 ? meanOf(same) : overall;
  };
  let projected = month.totals.cost;
  for (let at = Date.parse(today) + DAY_MS; at < end + 2 * DAY_MS; at += DAY_MS) {
    const date = dayText(at);
    if (date.startsWith(month.month)) projected += usual(date);
  }
  const spentToday = days.find(({ date }) => date === today)?.cost ?? 0;
  const gone = Math.min(1000, Math.max(0, month.today_gone));
  const restOfToday = gone >= 50 ? Math.round((spentToday * (1000 - gone)) / gone) : Math.round((usual(today) * (1000 - gone)) / 1000);
  return projected + restOfToday;
}

const DAY_MS = 86_400_000;
const dayText = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
const weekday = (date: string): number => new Date(date).getUTCDay();

/** Days without use inside the observed stretch count as 0; days before the first use do not count. */
function observedDays(before: UsageMonth['before'], today: string): { date: string; cost: number }[] {
  const known = new Map(before.map(({ date, cost }) => [date, cost]));
  const first = before[0]?.date ?? today;
  const days: { date: string; cost: number }[] = [];
  for (let at = Date.parse(first); at < Date.parse(today); at += DAY_MS)
    days.push({ date: dayText(at), cost: known.get(dayText(at)) ?? 0 });
  return days;
}
