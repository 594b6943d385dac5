import { breathe } from './breathe.js';
import type { GatewayError } from './errors.js';

/** A request in progress, as the heartbeat and the shutdown see it. */
export interface Running {
  /** Its place in the list; kept by the list. */
  place: number;
  /** Called ten times a second: enforces the total time and the patience with slow readers, and renews the hold's lease when due. */
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

export const createOpenRequests = (backgroundMax: number): OpenRequests => new OpenList(backgroundMax);

/** A class, because an object written out with getters is a dictionary to the runtime, and every request looks things up here. */
class OpenList implements OpenRequests {
  // Not a Set: when a busy Set outgrows its table, the old table keeps the new one and all that went through it alive until
  // the next full collection. A tenth of all our time went into copying requests that were long over.
  private readonly open: Running[] = [];
  private waiting: (() => void)[] = [];
  private readonly backgroundMax: number;

  constructor(backgroundMax: number) {
    this.backgroundMax = backgroundMax;
  }

  get size(): number {
    return this.open.length;
  }

  held(): number {
    return this.open.reduce((sum, running) => sum + running.held(), 0);
  }

  add(running: Running): void {
    running.place = this.open.length;
    this.open.push(running);
  }

  remove(running: Running): void {
    const { open } = this;
    const last = open[open.length - 1];
    if (!last || open[running.place] !== running) return;
    open[running.place] = last;
    last.place = running.place;
    open.pop();
    if (open.length > 0 || this.waiting.length === 0) return;
    for (const resolve of this.waiting) resolve();
    this.waiting = [];
  }

  /** From the end: whoever ends meanwhile is replaced by one that had its turn. */
  tick(nowMs: number): void {
    for (let i = this.open.length - 1; i >= 0; i--) this.open[i]?.tick(nowMs);
  }

  async restore(lost: ReadonlySet<string>): Promise<void> {
    let done = 0;
    for (const running of [...this.open]) {
      running.restore(lost);
      if (++done % RESTORE_AT_ONCE === 0) await breathe();
    }
  }

  cutAll(error: GatewayError): void {
    for (const running of [...this.open]) running.cut(error);
  }

  mayFinish(): boolean {
    return this.open.filter((running) => running.isAbandoned()).length < this.backgroundMax;
  }

  idle(): Promise<void> {
    return this.open.length === 0 ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve));
  }
}
