import type { Database } from './client.js';

/** Proof of being the only runner; `fence` grows with every change of owner. */
export interface Lease {
  readonly name: string;
  readonly fence: number;
}

/**
 * Takes or renews the lease of a single runner; undefined when somebody else has it. A row, not a session lock: pooled
 * connections lose those, and PGlite has one session for everybody.
 */
export async function takeLease(db: Database, name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
  const row = await db.one<{ fence: number }>(
    `insert into leases as l (name, owner, until) values ($1, $2, now() + make_interval(secs => $3))
     on conflict (name) do update set owner = excluded.owner, until = excluded.until,
       fence = case when l.owner = excluded.owner then l.fence else l.fence + 1 end
     where l.owner = excluded.owner or l.until < now()
     returning fence`,
    [name, owner, ttlMs / 1000],
    { idempotent: true },
  );
  return row ? { name, fence: row.fence } : undefined;
}

/** Lets somebody else take over at once, on a clean stop. */
export async function giveLease(db: Database, name: string, owner: string): Promise<void> {
  await db.query('update leases set until = now() where name = $1 and owner = $2', [name, owner], { idempotent: true });
}
