import { breathe } from './breathe.js';
import type { GatewayError } from './errors.js';

/** A request in progress, as the heartbeat and the shutdown see it. */
export interface Running {
  /** Its place in the list; kept by the list. */
  place: number;
  /** Called about once a second: renews the hold's lease, enforces the total time and the patience with slow readers. */
  tick(nowMs: number): void;
  /** Its client left, and it goes on only because its provider bills it whole. */
  isAbandoned(): boolean;
  /** Micro-credits set aside for it. */
  held(): number;
  /** The hot store lost these shards: if the hold is in one of them, it is put back. */
  restore(lost: ReadonlySet<string>): void;
  /** Ends it now with an error the client can read, and settles what was delivered. */
  cut(error: GatewayError): void;
}

export interface OpenRequests {
  readonly size: number;
  /** Micro-credits set aside for all of them. */
  held(): number;
  add(running: Running): void;
  remove(running: Running): void;
  tick(nowMs: number): void;
  cutAll(error: GatewayError): void;
  /** In several turns when there are many. */
  restore(lost: ReadonlySet<string>): Promise<void>;
  /** Whether a plain call whose client left may run on: only so many may. */
  mayFinish(): boolean;
  /** Resolves when nothing is in progress. */
  idle(): Promise<void>;
}

const RESTORE_AT_ONCE = 200;

export function createOpenRequests(backgroundMax: number): OpenRequests {
  // Not a Set: when a busy Set outgrows its table, the old table keeps the new one and all that went through it alive until
  // the next full collection. A tenth of all our time went into copying requests that were long over.
  const open: Running[] = [];
  let waiting: (() => void)[] = [];
  return {
    get size() {
      return open.length;
    },
    held: () => open.reduce((sum, running) => sum + running.held(), 0),
    add: (running) => {
      running.place = open.length;
      open.push(running);
    },
    remove: (running) => {
      const last = open[open.length - 1];
      if (!last || open[running.place] !== running) return;
      open[running.place] = last;
      last.place = running.place;
      open.pop();
      if (open.length > 0 || waiting.length === 0) return;
      for (const resolve of waiting) resolve();
      waiting = [];
    },
    tick: (nowMs) => {
      for (const running of [...open]) running.tick(nowMs);
    },
    restore: async (lost) => {
      let done = 0;
      for (const running of [...open]) {
        running.restore(lost);
        if (++done % RESTORE_AT_ONCE === 0) await breathe();
      }
    },
    cutAll: (error) => {
      for (const running of [...open]) running.cut(error);
    },
    mayFinish: () => open.filter((running) => running.isAbandoned()).length < backgroundMax,
    idle: () => (open.length === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}
