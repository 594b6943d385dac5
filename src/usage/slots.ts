import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** A stretch of time that a bucket stands for, whether anything was used in it or not. */
export interface Slot {
  /** Of the organization; for hours and minutes the moment it begins. */
  readonly from: string;
  readonly startsAt: Date;
  readonly endsAt: Date;
}

export interface SlotQuestion {
  readonly orgId: OrgId;
  readonly width: '1m' | '1h' | '1d';
  /** Days, the second one exclusive, or moments; the slot that the first lies in is taken whole. */
  readonly from: string;
  readonly to: string;
  readonly limit: number;
}

/** Whole slots, oldest first, cut as the buckets are. */
export async function readSlots(db: Database, { orgId, width, from, to, limit }: SlotQuestion): Promise<readonly Slot[]> {
  const rows = await db.query<{ starts_at: Date; ends_at: Date; date: string }>(SLOTS[width], [orgId, from, to, limit], {
    idempotent: true,
  });
  return rows.map(({ starts_at, ends_at, date }) => ({
    from: width === '1d' ? date : starts_at.toISOString(),
    startsAt: starts_at,
    endsAt: ends_at,
  }));
}

/** An hour may begin at any quarter of one in UTC, and be cut short when clocks are changed by less than that. */
const fine = (unit: 'hour' | 'minute', step: string): string => `
  select distinct date_trunc('${unit}', s, o.time_zone) as starts_at, date_trunc('${unit}', s, o.time_zone) + interval '1 ${unit}' as ends_at, '' as date
  from organizations o,
    generate_series(date_trunc('${unit}', $2::timestamptz, o.time_zone), $3::timestamptz - interval '1 millisecond', interval '${step}') s
  where o.org_id = $1 order by 1 limit $4::int`;

const SLOTS: Readonly<Record<SlotQuestion['width'], string>> = {
  '1m': fine('minute', '1 minute'),
  '1h': fine('hour', '15 minutes'),
  '1d': `
    select d at time zone o.time_zone as starts_at, (d + interval '1 day') at time zone o.time_zone as ends_at, to_char(d, 'YYYY-MM-DD') as date
    from organizations o, generate_series($2::text::date::timestamp, $3::text::date::timestamp - interval '1 day', interval '1 day') d
    where o.org_id = $1 order by d limit $4::int`,
};
