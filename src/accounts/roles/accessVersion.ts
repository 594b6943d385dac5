import type { Database } from '../../db/client.js';

/** Rises whenever somebody, anybody, may do less than before. */
export async function readAccessVersion(db: Database): Promise<number> {
  const row = await db.one<{ version: number }>('select version from access_changes', [], { idempotent: true });
  return row?.version ?? 0;
}
