import type { CreditStore, ShardState } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { giveLease, takeLease } from '../db/lease.js';
import { monotonicMs } from '../domain/clock.js';
import { pause } from './pause.js';
import { isLoss, reload } from './reload.js';

export interface Heal {
  /** Reloads every shard that is not open, or not whole. `standby`: another process does it. */
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
  /** Every shard answers again, and some before they are loaded: then whoever is asked for comes first. */
  readonly onServing?: (done: { readonly shards: number; readonly ms: number }) => void;
  readonly onHealed?: (done: { readonly shards: number; readonly orgs: number; readonly ms: number }) => void;
  readonly onError?: (error: unknown) => void;
}

const LEASE = 'heal';
const LOST_AGAIN_MS = 20;

/** Fills an empty, replaced or rolled-back hot store from Postgres: terms, balances and token use are set, never added. */
export function createHeal(options: HealOptions): Heal {
  const { db, store, owner, reholdMs = 1_000, pageSize, leaseMs = 5_000, everyMs = 250 } = options;
  let leasedMs = Number.NEGATIVE_INFINITY;
  const lease = async (): Promise<boolean> => {
    if (monotonicMs() - leasedMs < leaseMs / 3) return true;
    const asked = monotonicMs();
    const taken = (await takeLease(db, LEASE, owner, leaseMs)) !== undefined;
    leasedMs = taken ? asked : Number.NEGATIVE_INFINITY;
    return taken;
  };

  const step: Heal['step'] = async () => {
    const broken = (await store.shards()).filter(({ whole }) => !whole);
    if (broken.length === 0) return { kind: 'whole' };
    if (!(await lease())) return { kind: 'standby' };
    const started = monotonicMs();
    const absent = broken.filter(({ state }) => state === 'absent');
    await Promise.all(absent.map((shard) => store.transition(shard.shard, shard, 'filling')));
    // Gateways see it as soon as it is being filled, and put back what they have while it is.
    const openFromMs = monotonicMs() + reholdMs;
    const shards = await busyFirst(db, await begun(store, broken));
    const orgs = await reload({
      ...{ db, store, shards, openFromMs, lease, pageSize },
      onServing: (count) => options.onServing?.({ shards: count, ms: monotonicMs() - started }),
    });
    leasedMs = Number.NEGATIVE_INFINITY;
    await giveLease(db, LEASE, owner);
    options.onHealed?.({ shards: shards.length, orgs, ms: monotonicMs() - started });
    return { kind: 'healed', shards: shards.length, orgs };
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      let waitMs = everyMs;
      await step().catch((error: unknown) => {
        options.onError?.(error);
        // It was lost again: every moment counts, and what was begun is not finished.
        if (isLoss(error)) waitMs = LOST_AGAIN_MS;
      });
      await pause(waitMs, signal);
    }
  };
  return { step, run };
}

/** Those whose charges were booked last come first: somebody waits for them. */
async function busyFirst(db: Database, shards: readonly ShardState[]): Promise<ShardState[]> {
  const rows = await db.query<{ shard: string }>('select shard from drain_cursors order by updated_at desc', [], { idempotent: true });
  const places = new Map(rows.map(({ shard }, place) => [shard, place]));
  const placeOf = ({ shard }: ShardState): number => places.get(shard) ?? rows.length;
  return [...shards].sort((a, b) => placeOf(a) - placeOf(b));
}

/** Those of them that are being filled, or serve while they are. */
async function begun(store: CreditStore, broken: readonly ShardState[]): Promise<ShardState[]> {
  const names = new Set(broken.map(({ shard }) => shard));
  return (await store.shards()).filter(({ shard, state, whole }) => names.has(shard) && state !== 'absent' && !whole);
}
