import type { Database } from '../db/client.js';
import { type DaySums, sumsJson, sumsOf } from './month.js';

/** What all organizations together have and use. Micro-credits; days and months are those of each organization. */
export interface Everybody {
  readonly organizations: { readonly total: number; readonly suspended: number };
  readonly people: number;
  /** What customers could still spend, and what they owe, both 0 or more. */
  readonly credits: { readonly outstanding: number; readonly owed: number };
  readonly today: DaySums;
  readonly month: DaySums;
  /** Of this month, the ones that were charged most. */
  readonly top: readonly (DaySums & { readonly org_id: string; readonly name: string })[];
  /** The ones that owe most. */
  readonly debtors: readonly { readonly org_id: string; readonly name: string; readonly owed: number }[];
}

const SHOWN = 10;

/** From the same sums of days and the same balances that every organization sees of itself. */
export async function readEverybody(db: Database, nowMs: number): Promise<Everybody> {
  const row = await db.one<{ seen: Everybody }>(EVERYBODY, [new Date(nowMs), SHOWN], { idempotent: true, timeoutMs: 30_000 });
  if (!row) throw new Error('the overview had no row');
  return row.seen;
}

const EVERYBODY = `
  with here as (
    select o.org_id, o.name, ($1::timestamptz at time zone o.time_zone)::date as today from organizations o
  ), used as (
    select h.org_id, h.name, r.day = h.today as is_today, r.requests, r.errors, r.input, r.cached_input, r.output, r.cost
    from here h join usage_rollups r on r.org_id = h.org_id and r.day >= date_trunc('month', h.today)::date and r.day <= h.today
  ), month as (select ${sumsOf('u')} from used u), today as (select ${sumsOf('u')} from used u where u.is_today), top as (
    select u.org_id, u.name, ${sumsOf('u')} from used u group by u.org_id, u.name order by sum(u.cost) desc, u.org_id limit $2::int
  ), debtors as (
    select b.org_id, o.name, -b.debt as owed from org_balances b join organizations o using (org_id) where b.debt < 0 order by b.debt, b.org_id limit $2::int
  )
  select json_build_object(
    'organizations', (select json_build_object('total', count(*), 'suspended', count(*) filter (where status = 'suspended')) from organizations),
    'people', (select count(*) from people),
    'credits', (select json_build_object('outstanding', coalesce(sum(avail - debt), 0)::bigint, 'owed', coalesce(-sum(debt), 0)::bigint) from org_balances),
    'today', (select json_build_object(${sumsJson('t')}) from today t),
    'month', (select json_build_object(${sumsJson('m')}) from month m),
    'top', coalesce((select json_agg(json_build_object('org_id', p.org_id, 'name', p.name, ${sumsJson('p')}) order by p.cost desc, p.org_id) from top p), '[]'),
    'debtors', coalesce((select json_agg(to_json(d) order by d.owed desc, d.org_id) from debtors d), '[]')) as seen`;
