import type { CreditStore, StreamEntry } from './credits/store.js';
import type { Database } from './db/client.js';
import { monotonicMs } from './domain/clock.js';
import type { Settings } from './domain/settings.js';
import { createCycles } from './ledger/cycles.js';
import { createDrain } from './ledger/drain.js';
import { createHeal } from './ledger/heal.js';
import { repairProjections } from './ledger/project.js';
import { createScrub, type Scrub } from './ledger/scrub.js';
import { createSweep } from './ledger/sweep.js';
import type { Log } from './telemetry/log.js';
import type { Metrics } from './telemetry/metrics.js';

/** What runs by itself: heal, drain and sweep all the time, the rest by the clock. Any number of processes may run them. */
export interface Jobs {
  start(): void;
  /** Books what is settled, then ends. */
  stop(): Promise<void>;
}

export interface JobParts {
  readonly db: Database;
  readonly store: CreditStore;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly owner: string;
  readonly settings: Settings;
  /** Told what the drain has booked, once it is in the books. */
  readonly onBooked?: (batch: readonly StreamEntry[]) => void;
  /** Takes away what has had its time. */
  readonly tidy?: () => Promise<unknown>;
}

const REPAIR_EVERY_MS = 5_000;
/** A month or a grant that is over is noticed within this time; the gateway keeps to the clock by itself. */
const CYCLES_EVERY_MS = 15_000;
const TIDY_EVERY_MS = 600_000;
const LAST_DRAIN_MS = 20_000;
/** A page of a hundred tokens each time: nobody else can write into a store inside the process. */
const SCRUB_EVERY_MS = 250;

export function createJobs(parts: JobParts): Jobs {
  const { db, store, metrics, log, owner } = parts;
  const stopping = new AbortController();
  const running: Promise<void>[] = [];
  const drain = createDrain({
    db,
    store,
    owner,
    onLag: ({ seconds, waiting }) => {
      metrics.drainLag.set(seconds);
      metrics.drainWaiting.set(waiting);
    },
    onPosted: ({ charges, batch }) => {
      metrics.drained.inc(charges);
      parts.onBooked?.(batch);
    },
    onPoison: (row) => {
      metrics.poison.inc();
      log.error({ ...row }, 'a charge could not be booked and was set aside in poison_rows');
    },
    onError: (error) => log.warn({ err: error }, 'the drain waits'),
  });
  const heal = createHeal({
    db,
    store,
    owner,
    onServing: (done) => log.info(done, 'the hot store answers again; whoever asks is loaded first, everybody else in the background'),
    onHealed: (done) => {
      metrics.heals.inc();
      log.info(done, 'the hot store was loaded from Postgres');
    },
    onError: (error) => log.warn({ err: error }, 'the hot store could not be loaded yet'),
  });
  const sweep = createSweep({
    store,
    onSwept: (requestId) => {
      metrics.sweptHolds.inc();
      log.warn({ request_id: requestId }, 'a request whose owner vanished was ended at its floor');
    },
    onError: (error) => log.warn({ err: error }, 'the sweep waits'),
  });
  const scrub = createScrub({ db, store });
  const cycles = createCycles({
    db,
    store,
    owner,
    retentionDays: parts.settings.logs.retentionDays,
    onLetGo: (month) => log.info({ month }, 'the single requests of this month are gone; its sums stay'),
    onKept: (what) =>
      log.error(what, 'the single requests of this month are due, but stay: its books need a person; see farebox reconcile'),
  });
  const now = stopping.signal;
  return {
    start: () => {
      running.push(heal.run(now), drain.run(now), sweep.run(now));
      running.push(every(REPAIR_EVERY_MS, now, 'repairing projections', log, () => repairProjections(db, store)));
      if (parts.settings.redisUrl) running.push(every(SCRUB_EVERY_MS, now, 'scrubbing the hot store', log, () => scrubPage(parts, scrub)));
      running.push(every(CYCLES_EVERY_MS, now, 'running cycles', log, () => cycles.step()));
      running.push(every(TIDY_EVERY_MS, now, 'tidying up', log, async () => parts.tidy?.()));
    },
    stop: async () => {
      stopping.abort();
      await Promise.allSettled(running);
      await lastDrain(drain);
    },
  };
}

/** What was settled while we stopped is booked before the memory that holds it goes. */
async function lastDrain(drain: ReturnType<typeof createDrain>): Promise<void> {
  const until = monotonicMs() + LAST_DRAIN_MS;
  while (monotonicMs() < until) {
    const step = await drain.step();
    if (step.kind !== 'drained') return;
  }
}

async function scrubPage({ log }: JobParts, scrub: Scrub): Promise<void> {
  const { repaired } = await scrub.step();
  if (repaired.length > 0) log.warn({ repaired }, 'the hot store had lost these and was told again');
}

async function every(ms: number, stop: AbortSignal, what: string, log: Log, work: () => Promise<unknown>): Promise<void> {
  while (!stop.aborted) {
    await work().catch((error) => log.warn({ err: error }, `${what} did not work; it is tried again`));
    await pause(ms, stop);
  }
}

function pause(ms: number, stop: AbortSignal): Promise<void> {
  if (stop.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    stop.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      stop.removeEventListener('abort', done);
      resolve();
    }
  });
}
