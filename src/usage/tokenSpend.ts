import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** Micro-credits by day of the organization, oldest first: the last 30, today included. From the rollups, as every usage page. */
export async function readTokenSpend(what: {
  db: Database;
  orgId: OrgId;
  tokenIds: readonly string[];
  nowMs: number;
}): Promise<ReadonlyMap<string, readonly number[]>> {
  if (what.tokenIds.length === 0) return new Map();
  const rows = await what.db.query<{ token_id: string; days: readonly number[] }>(
    SPEND,
    [what.orgId, what.tokenIds, new Date(what.nowMs)],
    { idempotent: true },
  );
  return new Map(rows.map((row) => [row.token_id, row.days]));
}

const SPEND = `
  with place as materialized (
    select ($3::timestamptz at time zone time_zone)::date as today from organizations where org_id = $1
  ), spent as (
    select r.token_id, r.day, sum(r.cost)::bigint as cost from usage_rollups r cross join place p
    where r.org_id = $1 and r.token_id = any ($2::text[]) and r.day > p.today - 30 and r.day <= p.today group by r.token_id, r.day
  )
  select t.token_id, jsonb_agg(coalesce(s.cost, 0) order by d.day) as days
  from unnest($2::text[]) t (token_id) cross join place p cross join generate_series(p.today - 29, p.today, interval '1 day') d (day)
  left join spent s on s.token_id = t.token_id and s.day = d.day::date group by t.token_id`;
