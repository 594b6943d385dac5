import type { CreditStore, OrgState, ShardState, Unavailable } from '../../src/credits/store.js';
import type { OrgId } from '../../src/domain/ids.js';
import type { Answer, Call } from './calls.js';
import type { Habit } from './gateway.js';

/** A store under test, and what can be done to it besides asking it. */
export interface Subject {
  /** One unit of the run's time is this many ms of the store's own. */
  readonly scale: number;
  readonly habits: ReadonlySet<Habit>;
  execute(call: Call): Promise<Answer>;
  inspect(orgId: OrgId): Promise<OrgState | undefined | Unavailable>;
  shards(): Promise<readonly ShardState[]>;
  /** A new store for a new episode: empty, with a clock at 0. */
  reset(): Promise<void>;
  advance(ms: number): Promise<void>;
  /** Everything is gone. */
  wipe(): Promise<void>;
  /** Remembers everything as it is now, to come back to. */
  snapshot(): Promise<void>;
  /** A stale copy takes over: everything as remembered, under a life of the data that is over. */
  rollback(): Promise<void>;
  /** One key is evicted, or holds what nobody wrote; undefined where a store has no keys. */
  readonly damage?: (what: { readonly key: 'org' | 'token'; readonly id: string; readonly how: 'evicted' | 'junk' }) => Promise<void>;
  close(): Promise<void>;
}

export type Wrap = (store: CreditStore) => CreditStore;

/** A bug put between the simulator and the store, or into every gateway: this is how the proof is proved. */
export interface Plant {
  readonly wrap?: Wrap;
  readonly habit?: Habit;
}
