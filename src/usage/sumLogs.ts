import type { Database, Param } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { add, addBelow, addFrom, type LogFilter, listsOf, type Where, whereOf } from './logFilter.js';
import { firstIdAt } from './logRow.js';

/** Sums over everything a filter means, never over a page. `cost` in micro-credits. */
export interface LogTotals {
  readonly requests: number;
  readonly errors: number;
  readonly input: number;
  readonly cached_input: number;
  readonly output: number;
  readonly cost: number;
}

/**
 * Whole days come from the rollups, which are written with the rows and say the same; only the hours at both ends of the
 * range are read row by row. A filter the rollups do not know is summed from the rows alone.
 */
export async function sumLogs(what: { db: Database; orgId: OrgId; filter: LogFilter }): Promise<LogTotals> {
  const { db, orgId, filter } = what;
  const days = inRollups(filter) ? await wholeDays(what) : undefined;
  if (!days || (days.first !== null && days.end !== null && days.first >= days.end)) {
    const where = whereOf(orgId, filter);
    return total(db, [fromRows(where)], where.params);
  }
  const edges: Where = whereOf(orgId, { ...filter, fromMs: null, toMs: null });
  const shared = edges.parts.length;
  const parts = [fromRollups({ parts: edges.parts.slice(0, shared), params: edges.params }, days)];
  if (filter.fromMs !== null && days.first !== null) {
    const low: Where = { parts: edges.parts.slice(0, shared), params: edges.params };
    addFrom(low, firstIdAt(filter.fromMs));
    addBelow(low, firstIdAt(days.firstMs + days.slackMs));
    add(low, (n) => `r.day < ${n}::text::date`, days.first);
    parts.push(fromRows(low));
  }
  if (filter.toMs !== null && days.end !== null) {
    const high: Where = { parts: edges.parts.slice(0, shared), params: edges.params };
    addFrom(high, firstIdAt(days.endMs - days.slackMs));
    addBelow(high, firstIdAt(filter.toMs));
    add(high, (n) => `r.day >= ${n}::text::date`, days.end);
    parts.push(fromRows(high));
  }
  return total(db, parts, edges.params);
}

const ROLLED = new Set(['model', 'token_id', 'endpoint']);

const inRollups = (filter: LogFilter): boolean =>
  filter.minCost === null &&
  filter.minLatencyMs === null &&
  filter.stream === null &&
  filter.idPrefix === null &&
  listsOf(filter).every(([column, values]) => values.length === 0 || ROLLED.has(column));

interface WholeDays {
  /** The first day of which every row is in the range, and the day after the last; null where the range is open. */
  readonly first: string | null;
  readonly firstMs: number;
  readonly end: string | null;
  readonly endMs: number;
  /** How far rows of a neighbouring day may reach over those midnights. */
  readonly slackMs: number;
}

const HOUR_MS = 3_600_000;

/**
 * Rows keep the day they were stamped with. As long as the time zone was the same all along, a day begins at its
 * midnight; once it was changed, only days that are inside the range in every time zone there is are taken whole.
 */
async function wholeDays(what: { db: Database; orgId: OrgId; filter: LogFilter }): Promise<WholeDays | undefined> {
  const { fromMs, toMs } = what.filter;
  const row = await what.db.one<WholeDaysRow>(BOUNDS, [what.orgId, timeOf(fromMs), timeOf(toMs)], { idempotent: true });
  if (!row) return undefined;
  return {
    first: row.first,
    firstMs: row.first_at?.getTime() ?? 0,
    end: row.last,
    endMs: row.last_at?.getTime() ?? 0,
    slackMs: (row.moved ? 15 : 1) * HOUR_MS,
  };
}

interface WholeDaysRow {
  readonly moved: boolean;
  readonly first: string | null;
  readonly first_at: Date | null;
  readonly last: string | null;
  readonly last_at: Date | null;
}

const BOUNDS = `
  with place as (
    select case when moved then 'UTC' else time_zone end as zone, moved,
      $2::timestamptz + case when moved then interval '14 hours' else interval '0' end as lowest,
      $3::timestamptz - case when moved then interval '12 hours' else interval '0' end as highest
    from (select time_zone, coalesce(time_zone_changed_at + interval '2 days' > coalesce($2::timestamptz, '-infinity'), false) as moved
          from organizations where org_id = $1) o
  ), days as (
    select *, case when ((lowest - interval '1 millisecond') at time zone zone)::date < (lowest at time zone zone)::date
        then (lowest at time zone zone)::date else (lowest at time zone zone)::date + 1 end as first,
      (highest at time zone zone)::date as last
    from place
  )
  select moved, first, first::timestamp at time zone zone as first_at, last, last::timestamp at time zone zone as last_at from days`;

const timeOf = (ms: number | null): Date | null => (ms === null ? null : new Date(ms));

/** The columns that rows and rollups share have the same names. */
function fromRollups(where: Where, days: WholeDays): string {
  if (days.first !== null) add(where, (n) => `r.day >= ${n}::text::date`, days.first);
  if (days.end !== null) add(where, (n) => `r.day < ${n}::text::date`, days.end);
  return `select sum(r.requests) as requests, sum(r.errors) as errors, sum(r.input) as input, sum(r.cached_input) as cached_input,
      sum(r.output) as output, sum(r.cost) as cost from usage_rollups r where ${where.parts.join(' and ')}`;
}

const fromRows = (where: Where): string =>
  `select count(*) as requests, count(*) filter (where r.status in ('failed', 'rejected')) as errors, sum(r.input) as input,
      sum(r.cached_input) as cached_input, sum(r.output) as output, sum(r.cost) as cost
    from usage_records r where ${where.parts.join(' and ')}`;

async function total(db: Database, parts: readonly string[], params: readonly Param[]): Promise<LogTotals> {
  const columns = ['requests', 'errors', 'input', 'cached_input', 'output', 'cost'];
  const row = await db.one<LogTotals>(
    `select ${columns.map((name) => `coalesce(sum(${name}), 0)::bigint as ${name}`).join(', ')} from (${parts.join(' union all ')}) parts`,
    params,
    { idempotent: true },
  );
  if (!row) throw new Error('a sum without a row');
  return row;
}
