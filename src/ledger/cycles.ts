import type { CreditStore } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { takeLease } from '../db/lease.js';
import type { Clock } from '../domain/clock.js';
import { expireGrants } from './post.js';
import { repairProjections } from './project.js';
import { letGoMonths } from './retention.js';
import { rollMonths, rollWindows } from './windows.js';

/** What a round did. */
export interface CycleCounts {
  readonly months: number;
  readonly windows: number;
  readonly expired: number;
  readonly told: number;
  readonly pruned: number;
  /** Months whose single requests went. */
  readonly letGo: number;
}

export interface Cycles {
  /** One round of everything that is due. `standby`: another process does it. */
  step(): Promise<({ readonly kind: 'done' } & CycleCounts) | { readonly kind: 'standby' }>;
}

export interface CycleOptions {
  readonly db: Database;
  readonly store: CreditStore;
  readonly owner: string;
  /** Without one it is the database's: credits do not expire and months do not end because one server's clock is wrong. */
  readonly clock?: Clock;
  readonly leaseMs?: number;
  /** How many rows one statement takes; a round goes on until nothing is left. */
  readonly batch?: number;
  /** Tries of redemption codes are kept this long. */
  readonly attemptsKeptMs?: number;
  /** Single requests are kept this long after the end of their month; null = always. */
  readonly retentionDays?: number | null;
  readonly onLetGo?: (month: string) => void;
  /** A month that is due stays, because its books do not prove themselves. */
  readonly onKept?: (what: { readonly month: string; readonly why: string }) => void;
}

const LEASE = 'cycles';
const BATCHES_MAX = 1_000;
/** A month that could not go is looked at again after this long: looking reads all of it. */
const LOOK_AGAIN_MS = 3_600_000;

/**
 * What happens because time passes: months and quota windows start anew, grants expire, partitions are made ahead, old
 * keys and old requests go. Each statement is safe to repeat and to run twice at once; the lease only saves work. Whoever dies in between
 * leaves marks by which the next round tells the hot store.
 */
export function createCycles(options: CycleOptions): Cycles {
  const { db, store, owner, clock, leaseMs = 60_000, batch = 500, attemptsKeptMs = 86_400_000, retentionDays = null } = options;
  const notBefore = new Map<string, number>();

  const renew = () => takeLease(db, LEASE, owner, leaseMs);

  /** Repeats a bounded statement until it finds less than it may take, or until somebody else has the lease. */
  const drained = async (work: () => Promise<number>): Promise<number> => {
    let sum = 0;
    for (let i = 0; i < BATCHES_MAX; i++) {
      const done = await work();
      sum += done;
      if (done < batch || !(await renew())) return sum;
    }
    return sum;
  };

  const letGo = async (nowMs: number): Promise<number> => {
    if (retentionDays === null) return 0;
    const { gone, kept } = await letGoMonths(db, { nowMs, retentionDays, skip: (month) => nowMs < (notBefore.get(month) ?? 0) });
    for (const month of gone) options.onLetGo?.(month);
    for (const one of kept) {
      notBefore.set(one.month, nowMs + LOOK_AGAIN_MS);
      options.onKept?.(one);
    }
    return gone.length;
  };

  const step: Cycles['step'] = async () => {
    if (!(await renew())) return { kind: 'standby' };
    const nowMs = clock ? clock.nowMs() : await timeOf(db);
    const months = await drained(async () => (await rollMonths(db, { nowMs, limit: batch })).length);
    const windows = await drained(async () => (await rollWindows(db, { nowMs, limit: batch })).length);
    const expired = await drained(async () => (await expireGrants(db, { nowMs, limit: batch })).length);
    const told = await drained(() => repairProjections(db, store, batch));
    await db.query('select ensure_usage_partitions($1::timestamptz)', [new Date(nowMs)], { idempotent: true });
    const pruned = await drained(() => prune(db, { nowMs, attemptsKeptMs, batch }));
    return { kind: 'done', months, windows, expired, told, pruned, letGo: await letGo(nowMs) };
  };
  return { step };
}

async function timeOf(db: Database): Promise<number> {
  const row = await db.one<{ ms: number }>('select epoch_ms(now()) as ms');
  if (!row) throw new Error('the database did not say what time it is');
  return row.ms;
}

/** Keys whose day is over, and tries that no longer count. Nothing that money depends on. */
async function prune(db: Database, what: { nowMs: number; attemptsKeptMs: number; batch: number }): Promise<number> {
  const rows = await db.query<{ gone: number }>(
    `with old_keys as (
       delete from idempotency_keys where (scope, key) in (
         select scope, key from idempotency_keys where expires_at < $1::timestamptz order by expires_at limit $3 for update skip locked)
       returning 1
     ), old_attempts as (
       delete from code_attempts where id in (
         select id from code_attempts where at < $2::timestamptz order by at limit $3 for update skip locked)
       returning 1
     )
     select greatest((select count(*) from old_keys), (select count(*) from old_attempts)) as gone`,
    [new Date(what.nowMs), new Date(what.nowMs - what.attemptsKeptMs), what.batch],
  );
  return rows[0]?.gone ?? 0;
}
