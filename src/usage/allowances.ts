import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** What was given for nothing in one of an organization's months, by meter. */
export interface AllowanceUse {
  /** "2026-11" */
  readonly month: string;
  readonly ends_at: string;
  readonly used: Readonly<Record<string, number>>;
}

/** `date` is any day of the month; null = the one that runs. */
export async function readAllowances(what: {
  db: Database;
  orgId: OrgId;
  date: string | null;
  nowMs: number;
}): Promise<AllowanceUse | undefined> {
  const row = await what.db.one<{ use: AllowanceUse }>(
    `with place as (
       select date_trunc('month', coalesce($2::text::date, ($3::timestamptz at time zone time_zone)::date))::date as month, time_zone
       from organizations where org_id = $1
     )
     select jsonb_build_object('month', to_char(p.month, 'YYYY-MM'),
       'ends_at', (p.month + interval '1 month')::timestamp at time zone p.time_zone,
       'used', coalesce((select jsonb_object_agg(u.meter, u.used) from allowance_use u where u.org_id = $1 and u.month = p.month), '{}')) as use
     from place p`,
    [what.orgId, what.date, new Date(what.nowMs)],
    { idempotent: true },
  );
  return row?.use;
}
