import type { CreditStore } from '../../src/credits/store.js';

/** A store under test, empty; `close` takes everything with it. */
export interface Opened {
  readonly store: CreditStore;
  /** Moves time on, at least this far. Redis has a clock of its own, so there it is waited for. */
  wait(ms: number): Promise<void>;
  /** The store's own clock, roughly. */
  nowMs(): number;
  close(): Promise<void>;
}
