import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { add, addBelow, addFrom, EVERY_LOG, type LogFilter, type Where, whereOf } from './logFilter.js';
import { firstIdAt } from './logRow.js';

/** What one operation (a model at an endpoint, under one price list) used on one day, and what it was charged. */
export interface DayOperation {
  readonly model: string;
  readonly endpoint: string;
  /** Null: the single requests are let go, and only what they cost is known. */
  readonly price_version: string | null;
  readonly requests: number;
  readonly cost: number;
  readonly operator_loss: number;
  readonly lines: readonly DayLine[];
}

export interface DayLine {
  readonly meter: string;
  /** Micro-credits per unit, exact. */
  readonly rate: string;
  readonly times: string;
  readonly quantity: number;
  readonly requests: number;
}

export interface DayDetail {
  readonly time_zone: string;
  readonly operations: readonly DayOperation[];
}

export type DayFilter = Pick<LogFilter, 'onlyTokens' | 'tokenIds' | 'agents' | 'conversations'>;

const HOUR_MS = 3_600_000;

/**
 * From the rows: only they know at which price each unit was sold. A day somewhere on earth begins at most 14 hours before
 * and ends at most 12 hours after the day of the same name in UTC, which narrows the index; `day` decides.
 */
export async function readDay(what: { db: Database; orgId: OrgId; date: string; filter: DayFilter }): Promise<DayDetail | undefined> {
  const where = whereOf(what.orgId, { ...EVERY_LOG, ...what.filter });
  addFrom(where, firstIdAt(Date.parse(what.date) - 14 * HOUR_MS));
  addBelow(where, firstIdAt(Date.parse(what.date) + 36 * HOUR_MS));
  add(where, (n) => `r.day = ${n}::text::date`, what.date);
  const past = pastWhere(what, where.params);
  const row = await what.db.one<{ detail: DayDetail }>(
    `with picked as materialized (
      select r.model, r.endpoint, r.price_version, r.cost, r.operator_loss, r.breakdown::jsonb as breakdown
      from usage_records r where ${where.parts.join(' and ')}
    ), operations as (
      select model, endpoint, price_version, count(*) as requests, sum(cost) as cost, sum(operator_loss) as operator_loss
      from picked group by 1, 2, 3
      union all
      select s.model, s.endpoint, null, sum(s.requests), sum(s.cost), sum(s.operator_loss) from usage_past_sums s
        join usage_past_months m on m.month = s.month and m.gone_at is not null where ${past.parts.join(' and ')} group by 1, 2
    ), lines as (
      select p.model, p.endpoint, p.price_version, l ->> 'meter' as meter, l ->> 'rate' as rate, p.breakdown ->> 'times' as times,
        sum((l ->> 'quantity')::numeric) as quantity, count(*) as requests
      from picked p cross join lateral jsonb_array_elements(p.breakdown -> 'lines') l group by 1, 2, 3, 4, 5, 6
    ), listed as (
      select model, endpoint, price_version, jsonb_agg(jsonb_build_object('meter', meter, 'rate', rate, 'times', times,
        'quantity', quantity, 'requests', requests) order by quantity desc, meter, rate, times) as lines
      from lines group by 1, 2, 3
    )
    select jsonb_build_object('time_zone', o.time_zone, 'operations', coalesce((
      select jsonb_agg(to_jsonb(p) || jsonb_build_object('lines', coalesce(l.lines, '[]')) order by p.cost desc, p.model, p.endpoint, p.price_version)
      from operations p left join listed l using (model, endpoint, price_version)), '[]')) as detail
    from organizations o where o.org_id = $1`,
    where.params,
    { idempotent: true },
  );
  return row?.detail;
}

/** Sums know tokens, and nothing finer. */
function pastWhere({ orgId, date, filter }: { orgId: OrgId; date: string; filter: DayFilter }, params: Where['params']): Where {
  const where: Where = { parts: [], params };
  add(where, (n) => `s.org_id = ${n}`, orgId);
  add(where, (n) => `s.day = ${n}::text::date`, date);
  if (filter.onlyTokens !== null) add(where, (n) => `s.token_id = any (${n}::text[])`, filter.onlyTokens);
  if (filter.tokenIds.length > 0) add(where, (n) => `s.token_id = any (${n}::text[])`, filter.tokenIds);
  if (filter.agents.length + filter.conversations.length > 0) where.parts.push('false');
  return where;
}
