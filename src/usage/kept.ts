import type { Database } from '../db/client.js';

/** The first moment of which every single request is still there; null as long as none was ever let go. */
export async function readKeptFrom(db: Database): Promise<Date | null> {
  const row = await db.one<{ kept_from: Date | null }>(
    `select (max(month) + interval '1 month') at time zone 'UTC' as kept_from from usage_past_months where gone_at is not null`,
    [],
    { idempotent: true },
  );
  return row?.kept_from ?? null;
}
