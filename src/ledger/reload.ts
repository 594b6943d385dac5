import type { CreditStore, ShardState } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { monotonicMs } from '../domain/clock.js';
import { pause } from './pause.js';
import { readNames, readSnapshots, readSnapshotsOf } from './snapshot.js';

export interface Reload {
  readonly db: Database;
  readonly store: CreditStore;
  /** Being filled, or serving while they are; in the order in which they are wanted. */
  readonly shards: readonly ShardState[];
  /** By then gateways have put back what they know. */
  readonly openFromMs: number;
  /** Renews the right to do this, now and then. */
  readonly lease: () => Promise<unknown>;
  readonly pageSize?: number | undefined;
  /** All of them answer, and some before they are loaded: then whoever is asked for comes first. */
  readonly onServing?: (shards: number) => void;
}

const PAGE = 250;
const NAMES_PAGE = 2_000;
const NAMED_AT_ONCE = 4;
const LOADED_AT_ONCE = 3;
const FAILURES_MAX = 4;
const WANTED_EVERY_MS = 20;
const WANTED_AT_ONCE = 200;
/** As long as somebody asked so recently nobody else is loaded; though all others do not wait longer than that for each page. */
const CALM_MS = 60;
const CALM_MAX_MS = 400;

/**
 * To name who there is takes a twentieth of loading them, so a shard serves as soon as all of it is named and gateways have put
 * back what they have; whoever is asked for before their turn has come is loaded first. Answers how many organizations were loaded.
 */
export async function reload(parts: Reload): Promise<number> {
  const { store, shards, openFromMs } = parts;
  const work = createWork();
  const loaded = new Set<string>();
  const unnamed = new Set<ShardState>();
  const opening = new Map<string, Promise<void>>();
  const completing: Promise<void>[] = [];
  const wanted = serveWanted(parts, work, loaded);
  const gatewaysHadTheirTime = pause(openFromMs - monotonicMs(), work.lost);
  let [orgs, early] = [0, 0];
  await inTurns(shards, NAMED_AT_ONCE, (shard) =>
    work.doing(async () => {
      if (shard.state !== 'filling') return;
      if (!(await name(parts, shard))) return void unnamed.add(shard);
      const open = async (): Promise<void> => {
        await gatewaysHadTheirTime;
        if (work.lost.aborted) return;
        // By compare-and-set on the very state that was named: a store replaced meanwhile stays closed and is next.
        const isLoaded = loaded.has(shard.shard);
        if (!isLoaded) early += 1;
        await store.transition(shard.shard, shard, isLoaded ? 'open' : 'serving');
        wanted.open(shard);
      };
      opening.set(shard.shard, work.doing(open));
    }),
  );
  const serving = Promise.all(opening.values()).then(() => {
    if (early > 0 && unnamed.size === 0) parts.onServing?.(opening.size);
  });
  // One that cannot be loaded keeps no other from being loaded; several, and it is not their fault.
  await inTurns(shards, LOADED_AT_ONCE, (shard) =>
    work.doing(async () => {
      const [isUnnamed, openedBefore] = [unnamed.has(shard), opening.get(shard.shard)];
      if (shard.state === 'filling' && !openedBefore && !isUnnamed) return;
      const count = await fill(parts, shard, wanted.calm);
      orgs += count;
      loaded.add(shard.shard);
      completing.push(
        work.doing(async () => {
          await (isUnnamed ? gatewaysHadTheirTime : openedBefore);
          if (isUnnamed && work.lost.aborted) return;
          // All of it is loaded. When it served before that, nobody is expected from now on; else it is opened for all.
          await store.transition(shard.shard, isUnnamed ? shard : { ...shard, state: 'open', whole: false }, 'open');
        }),
      );
    }),
  );
  await Promise.all([serving, ...completing]);
  await wanted.stop();
  work.throwFirst();
  return orgs;
}

/** False when names were lost meanwhile: such a shard opens when all of it is loaded. */
async function name({ db, store, lease }: Reload, { shard }: ShardState): Promise<boolean> {
  for (let after = ''; ; ) {
    const page = await readNames(db, shard, after, NAMES_PAGE);
    if (!(await store.expect(shard, page))) return false;
    const last = page.at(-1);
    if (!last || page.length < NAMES_PAGE) return true;
    after = last.orgId;
    await lease();
  }
}

async function fill({ db, store, lease, pageSize = PAGE }: Reload, { shard, epoch }: ShardState, calm: () => Promise<void>) {
  let orgs = 0;
  for (let after = ''; ; ) {
    await calm();
    const page = await readSnapshots(db, shard, after, pageSize);
    if (page.length > 0) await store.load(shard, page, epoch);
    orgs += page.length;
    const last = page.at(-1);
    if (!last || page.length < pageSize) return orgs;
    after = last.terms.orgId;
    await lease();
  }
}

interface Wanted {
  /** From now on this shard is looked at: whoever has waited for it to open asks any moment. */
  open(shard: ShardState): void;
  /** Resolves when nobody asks, or has asked for long enough. */
  calm(): Promise<void>;
  stop(): Promise<void>;
}

/** Loads those first who are asked for before their turn. */
function serveWanted({ db, store, shards }: Reload, work: Work, loaded: ReadonlySet<string>): Wanted {
  const stopped = new AbortController();
  const serving = new Set(shards.filter(({ state }) => state === 'open'));
  let calmFromMs = 0;
  const look = async ({ shard, epoch }: ShardState): Promise<void> => {
    const wanted = await store.wanted(shard, WANTED_AT_ONCE);
    if (wanted.length === 0) return;
    calmFromMs = monotonicMs() + CALM_MS;
    const found = await readSnapshotsOf(db, wanted);
    await store.load(shard, found, epoch).catch((error: unknown) => {
      // Its turn had come meanwhile, and that of all others there: a shard that is open for all takes no more.
      if (!loaded.has(shard)) throw error;
    });
  };
  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      await Promise.all([...serving].filter(({ shard }) => !loaded.has(shard)).map((shard) => work.doing(() => look(shard))));
      await pause(WANTED_EVERY_MS, stopped.signal);
    }
  };
  const running = run();
  return {
    open: (shard) => {
      serving.add(shard);
      calmFromMs = Math.max(calmFromMs, monotonicMs() + 2 * CALM_MS);
    },
    calm: async () => {
      const latestMs = monotonicMs() + CALM_MAX_MS;
      while (monotonicMs() < Math.min(calmFromMs, latestMs)) await pause(WANTED_EVERY_MS, stopped.signal);
    },
    stop: () => {
      stopped.abort();
      return running;
    },
  };
}

interface Work {
  /** Once the store was lost again: then nothing that was begun is worth finishing. */
  readonly lost: AbortSignal;
  /** Does it, unless too much has failed; what fails is kept for the end. */
  doing(part: () => Promise<void>): Promise<void>;
  throwFirst(): void;
}

function createWork(): Work {
  const lost = new AbortController();
  const failures: unknown[] = [];
  return {
    lost: lost.signal,
    doing: async (part) => {
      if (lost.signal.aborted || failures.length >= FAILURES_MAX) return;
      try {
        await part();
      } catch (error) {
        failures.push(error);
        if (isLoss(error)) lost.abort();
      }
    },
    throwFirst: () => {
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** The shard is no longer what it was when this began. */
export const isLoss = (error: unknown): boolean => error instanceof Error && 'reason' in error && error.reason === 'not_loaded';

/** Runs `work` over a list, so many at once. */
async function inTurns<Item>(items: readonly Item[], atOnce: number, work: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}
