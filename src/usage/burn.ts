import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { deviationOf, meanOf } from './forecast.js';

/** How fast an organization uses its credits. Micro-credits per day. */
export interface Burn {
  /** The mean of the last seven whole days, or of fewer while there were no more since the first use; rounded up. */
  readonly perDay7d: number;
  /** Today, and of yesterday the part that makes it a whole day. */
  readonly perDay24h: number;
  readonly days: readonly number[];
}

export interface RunsOut {
  readonly at: Date;
  readonly earliest: Date;
  /** Null: perhaps never. */
  readonly latest: Date | null;
}

/** Null until one whole day is over since the first use. */
export async function readBurn(db: Database, orgId: OrgId, nowMs: number): Promise<Burn | null> {
  const row = await db.one<{ burn: Read }>(BURN, [orgId, new Date(nowMs)], { idempotent: true });
  if (!row || row.burn.costs.length === 0) return null;
  const { costs, today, today_gone } = row.burn;
  const yesterday = costs.at(-1) ?? 0;
  return {
    perDay7d: Math.ceil(meanOf(costs)),
    perDay24h: today + Math.ceil((yesterday * (1000 - today_gone)) / 1000),
    days: costs,
  };
}

interface Read {
  /** Of whole days, oldest first. */
  readonly costs: readonly number[];
  readonly today: number;
  /** How much of today is over, in thousandths. */
  readonly today_gone: number;
}

const BURN = `
  with place as materialized (
    select today, (select min(r.day) from usage_rollups r where r.org_id = $1) as first_used,
      floor(1000 * extract(epoch from $2::timestamptz - today::timestamp at time zone time_zone)
        / extract(epoch from (today + 1)::timestamp at time zone time_zone - today::timestamp at time zone time_zone))::int as gone
    from (select time_zone, ($2::timestamptz at time zone time_zone)::date as today from organizations where org_id = $1) o
  ), used as materialized (
    select r.day, sum(r.cost)::bigint as cost from usage_rollups r, place p
    where r.org_id = $1 and r.day >= p.today - 7 and r.day <= p.today group by r.day
  )
  select jsonb_build_object('today_gone', least(1000, greatest(0, p.gone)),
    'today', coalesce((select u.cost from used u where u.day = p.today), 0),
    'costs', coalesce((select jsonb_agg(coalesce(u.cost, 0) order by d) from generate_series(
      case when p.first_used is not null then greatest(p.first_used, p.today - 7) end, p.today - 1, interval '1 day') d left join used u on u.day = d::date), '[]')) as burn
  from place p`;

/** Four of five cases, as in the forecast of a month. */
const BAND = 1.2816;
const DAY_MS = 86_400_000;
/** Beyond this it says nothing that anybody could use. */
const DAYS_MAX = 3_650;

/**
 * When what is available will be gone at the pace of the last days. Days differ from their mean by s independently of each
 * other, so after t days m·t ± 1.28·s·√t are used: the edges are where that meets what is available.
 */
export function runsOut(available: number, { perDay7d: mean, days }: Burn, nowMs: number): RunsOut | null {
  if (mean <= 0) return null;
  const width = BAND * deviationOf(days);
  const left = Math.max(0, available);
  const daysUntil = (direction: 1 | -1): number => {
    const root = (direction * width + Math.sqrt(width * width + 4 * mean * left)) / (2 * mean);
    return root * root;
  };
  const on = (length: number): Date => new Date(nowMs + Math.round(length * DAY_MS));
  const [expected, soonest, last] = [left / mean, daysUntil(-1), daysUntil(1)];
  if (expected > DAYS_MAX) return null;
  return { at: on(expected), earliest: on(soonest), latest: last > DAYS_MAX ? null : on(last) };
}
