import type { CreditStore, ShardState } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { giveLease, takeLease } from '../db/lease.js';
import { monotonicMs } from '../domain/clock.js';
import { pause } from './pause.js';
import { readSnapshots } from './snapshot.js';

export interface Heal {
  /** Reloads every shard that is not open. `standby`: another process does it. */
  step(): Promise<
    { readonly kind: 'whole' } | { readonly kind: 'healed'; readonly shards: number; readonly orgs: number } | { readonly kind: 'standby' }
  >;
  run(signal: AbortSignal): Promise<void>;
}

export interface HealOptions {
  readonly db: Database;
  readonly store: CreditStore;
  readonly owner: string;
  /** How long gateways get to put their open holds and unconfirmed settlements back before requests are admitted again. */
  readonly reholdMs?: number;
  readonly pageSize?: number;
  readonly leaseMs?: number;
  readonly everyMs?: number;
  readonly onHealed?: (done: { readonly shards: number; readonly orgs: number; readonly ms: number }) => void;
  readonly onError?: (error: unknown) => void;
}

const LEASE = 'heal';
const AT_ONCE = 4;
const FAILURES_MAX = 4;

/** Fills an empty, replaced or rolled-back hot store from Postgres: terms, balances and token use are set, never added. */
export function createHeal(options: HealOptions): Heal {
  const { db, store, owner, reholdMs = 1_000, pageSize = 1_000, leaseMs = 30_000, everyMs = 250 } = options;

  const fill = async (shard: string): Promise<number> => {
    let after = '';
    let orgs = 0;
    for (;;) {
      const page = await readSnapshots(db, shard, after, pageSize);
      if (page.length > 0) await store.load(shard, page);
      orgs += page.length;
      const last = page.at(-1);
      if (!last || page.length < pageSize) return orgs;
      after = last.terms.orgId;
      await takeLease(db, LEASE, owner, leaseMs);
    }
  };

  const step: Heal['step'] = async () => {
    const broken = (await store.shards()).filter((shard) => shard.state !== 'open');
    if (broken.length === 0) return { kind: 'whole' };
    if (!(await takeLease(db, LEASE, owner, leaseMs))) return { kind: 'standby' };
    const started = monotonicMs();
    for (const shard of broken) if (shard.state === 'absent') await store.transition(shard.shard, shard, 'filling');
    // Gateways see it as soon as it is being filled, and put back what they have while it is.
    const openFromMs = monotonicMs() + reholdMs;
    const names = new Set(broken.map((shard) => shard.shard));
    const filling = await busyFirst(db, await statesOf(store, names, 'filling'));
    const opening: Promise<void>[] = [];
    const failures: unknown[] = [];
    const failed = (error: unknown): void => void failures.push(error);
    let orgs = 0;
    // One that cannot be loaded keeps no other from being opened; several, and it is not their fault.
    await inTurns(filling, AT_ONCE, async (shard) => {
      if (failures.length >= FAILURES_MAX) return;
      await fill(shard.shard).then((count) => {
        orgs += count;
        opening.push(openFrom(store, shard, openFromMs).catch(failed));
      }, failed);
    });
    await Promise.all(opening);
    if (failures.length > 0) throw failures[0];
    await giveLease(db, LEASE, owner);
    options.onHealed?.({ shards: filling.length, orgs, ms: monotonicMs() - started });
    return { kind: 'healed', shards: filling.length, orgs };
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await step().catch((error: unknown) => options.onError?.(error));
      await pause(everyMs, signal);
    }
  };
  return { step, run };
}

/**
 * As soon as it is whole and gateways had their time; the others need not be. By compare-and-set on the very state that was
 * filled: a store replaced meanwhile stays closed and is next.
 */
async function openFrom(store: CreditStore, shard: ShardState, fromMs: number): Promise<void> {
  await new Promise((go) => setTimeout(go, Math.max(0, fromMs - monotonicMs())));
  await store.transition(shard.shard, shard, 'open');
}

/** Those whose charges were booked last come first: somebody waits for them. */
async function busyFirst(db: Database, shards: readonly ShardState[]): Promise<ShardState[]> {
  const rows = await db.query<{ shard: string }>('select shard from drain_cursors order by updated_at desc', [], { idempotent: true });
  const places = new Map(rows.map(({ shard }, place) => [shard, place]));
  const placeOf = ({ shard }: ShardState): number => places.get(shard) ?? rows.length;
  return [...shards].sort((a, b) => placeOf(a) - placeOf(b));
}

async function statesOf(store: CreditStore, names: ReadonlySet<string>, state: ShardState['state']): Promise<ShardState[]> {
  return (await store.shards()).filter((shard) => names.has(shard.shard) && shard.state === state);
}

/** Runs `work` over a list, so many at once. */
async function inTurns<Item>(items: readonly Item[], atOnce: number, work: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}
