import type { Database } from '../db/client.js';

/** When a price list was first in force here; null while that is still being written down. */
export async function priceVersionSince(db: Database, version: string): Promise<Date | null> {
  const row = await db.one<{ activated_at: Date }>('select activated_at from price_versions where hash = $1', [version], {
    idempotent: true,
  });
  return row?.activated_at ?? null;
}
