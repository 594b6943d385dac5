import type { CreditStore, SettleCommand, ShardState } from '../credits/store.js';
import { type OrgId, shardOf } from '../domain/ids.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Entry } from './entries.js';
import { rowOf } from './event.js';
import type { Journal, Replayed } from './journal.js';
import type { HeldLine, SettledLine } from './journal-lines.js';
import type { OpenRequests } from './open.js';
import type { Outbox } from './outbox.js';

export interface Recovery {
  /** Something is still to be read or said again. */
  readonly busy: boolean;
  /**
   * What the last life of this process left unfinished: its settlements are sent again, its open holds end at their floor.
   * Resolves when all of it is said, or could not be read; then it is tried again later.
   */
  replay(): Promise<void>;
  /** Confirms what Postgres has. Called about once a second. */
  tick(): Promise<void>;
  /** After the store was lost, gives it back what only we know. */
  look(states: readonly ShardState[]): void;
}

interface Parts {
  readonly store: CreditStore;
  readonly journal: Journal;
  readonly outbox: Outbox;
  readonly open: OpenRequests;
  readonly metrics: Metrics;
  readonly log: Log;
}

const ASK_AT_ONCE = 500;
/** In each tick a thirtieth of what is unconfirmed is asked about, so that nothing waits longer than half a minute for its turn. */
const ASK_LEAST = 2_000;
const ASK_SHARE = 30;
/** As long as most of it turns out to be booked, more is asked: twice what is drained in a second. */
const ASK_MOST = 20_000;

export function createRecovery(parts: Parts): Recovery {
  const { journal, open, log } = parts;
  /** The life of the data in each shard, as we last saw it. */
  const lives = new Map<string, string>();
  const sayer = createSayer(parts, ({ orgId, takenUnder, again }) => {
    if (again || takenUnder === undefined) return again;
    const life = lives.get(shardOf(orgId));
    return life !== undefined && lifeOf(takenUnder) !== life;
  });

  let looked: readonly ShardState[] | undefined;
  const look = (states: readonly ShardState[]): void => {
    // Nothing has changed.
    if (states === looked) return;
    looked = states;
    const lost = new Set<string>();
    for (const { shard, state, epoch } of states) {
      const before = lives.get(shard);
      if (state === 'absent' || lifeOf(epoch) === before) continue;
      lives.set(shard, lifeOf(epoch));
      if (before === undefined) continue;
      lost.add(shard);
    }
    if (lost.size === 0) return;
    log.warn({ shards: lost.size }, 'the hot store lost what it had; open holds and unconfirmed settlements are sent again');
    open.restore(lost).catch((error: unknown) => log.error({ err: error }, 'open holds were not put back'));
    void sayer.go();
  };

  const tick = async (): Promise<void> => {
    const least = Math.max(ASK_LEAST, Math.ceil(journal.unconfirmed / ASK_SHARE));
    const most = Math.min(journal.unconfirmed, ASK_MOST);
    let isMoving = true;
    let lost = 0;
    for (let asked = 0; asked < most && (isMoving || asked < least); ) {
      const entries = journal.next(ASK_AT_ONCE);
      if (entries.length === 0) break;
      asked += entries.length;
      const found = await confirm(parts, entries);
      isMoving = found.booked * 2 >= entries.length;
      lost += found.lost;
    }
    // The store was lost between taking them and our next look: nobody else will say them again.
    if (lost > 0) void sayer.go();
    parts.metrics.unconfirmed.set(journal.unconfirmed);
  };

  return {
    get busy() {
      return sayer.busy;
    },
    replay: () => sayer.go(),
    look,
    tick,
  };
}

interface Confirmed {
  readonly booked: number;
  readonly lost: number;
}

async function confirm(parts: Parts, entries: readonly Entry[]): Promise<Confirmed> {
  const byOrg = new Map<OrgId, Entry[]>();
  for (const entry of entries) {
    if (entry.takenUnder === undefined) continue;
    const ofOrg = byOrg.get(entry.orgId);
    if (ofOrg) ofOrg.push(entry);
    else byOrg.set(entry.orgId, [entry]);
  }
  const found = await Promise.all([...byOrg].map(([orgId, ofOrg]) => confirmOrg(parts, orgId, ofOrg)));
  return found.reduce((sum, one) => ({ booked: sum.booked + one.booked, lost: sum.lost + one.lost }), { booked: 0, lost: 0 });
}

/** Only of what was taken before we asked does "not pending" mean "booked". What another life of the data took is lost. */
async function confirmOrg({ store, journal }: Parts, orgId: OrgId, entries: readonly Entry[]): Promise<Confirmed> {
  const asked = entries.map((entry) => ({ entry, under: entry.takenUnder }));
  const answer = await store.pending(
    orgId,
    entries.map(({ requestId }) => requestId),
  );
  if (answer.kind === 'unavailable') return { booked: 0, lost: 0 };
  const pending = new Set(answer.ids);
  const { epoch } = answer;
  let booked = 0;
  let lost = 0;
  for (const { entry, under } of asked) {
    if (under === undefined || entry.takenUnder !== under) continue;
    if (under !== epoch && lifeOf(under) !== lifeOf(epoch)) {
      entry.again = true;
      lost += 1;
    } else if (!pending.has(entry.requestId)) {
      entry.takenUnder = undefined;
      journal.confirmed(entry);
      booked += 1;
    }
  }
  return { booked, lost };
}

/** So many settlements may be on their way before more are read. */
const ON_THEIR_WAY_MAX = 4_000;
const LOOK_AGAIN_MS = 20;
const TRY_AGAIN_MS = 10_000;

/** Says again what has to be said again, a little in each turn. What is lost meanwhile has its turn after that. */
function createSayer(parts: Parts, isWanted: (entry: Entry) => boolean): { readonly busy: boolean; go(): Promise<void> } {
  const { journal, outbox, log } = parts;
  let isDue = false;
  let saying: Promise<void> | null = null;

  const visit = ({ line, entry }: Replayed): Promise<void> | undefined => {
    // It may have been said while its line was read.
    if (!isWanted(entry)) return undefined;
    if (line.kind === 'settled') outbox.resend(settleCommand(line), entry);
    else outbox.send(floorCommand(line), entry);
    return outbox.size() < ON_THEIR_WAY_MAX ? undefined : room(outbox);
  };
  const once = async (): Promise<void> => {
    const { settlements, holds, damaged } = await journal.adopt();
    if (settlements + holds + damaged > 0) {
      log[damaged > 0 ? 'error' : 'info']({ settlements, holds, damaged }, 'finishing what the last run left');
    }
    const missing = await journal.replay(isWanted, visit);
    if (missing === 0) return;
    log.error({ missing }, 'lines of the journal that are still needed were not found; they are looked for again');
    setTimeout(go, TRY_AGAIN_MS).unref();
  };
  const run = async (): Promise<void> => {
    while (isDue) {
      isDue = false;
      await once().catch((error: unknown) => {
        log.error({ err: error }, 'the journal could not be read; it is tried again');
        setTimeout(go, TRY_AGAIN_MS).unref();
      });
    }
    saying = null;
  };
  const go = (): Promise<void> => {
    isDue = true;
    saying ??= run();
    return saying;
  };
  return {
    get busy() {
      return saying !== null;
    },
    go,
  };
}

async function room(outbox: Outbox): Promise<void> {
  while (outbox.size() >= ON_THEIR_WAY_MAX) await new Promise((go) => setTimeout(go, LOOK_AGAIN_MS).unref());
}

/** `filling` and `open` of one reload are the same life of the data. */
const lifeOf = (epoch: string): string => epoch.replace(/:(?:filling|serving|open)$/, '');

function settleCommand({ requestId, orgId, tokenId, cost, event }: SettledLine): SettleCommand {
  const kind = event.includes('"kind":"floor"') ? 'floor' : 'final';
  return { requestId, orgId, tokenId, kind, cost, event };
}

const floorCommand = ({ requestId, orgId, tokenId, amount, floor, note }: HeldLine): SettleCommand => ({
  requestId,
  orgId,
  tokenId,
  kind: 'floor',
  cost: floor,
  event: rowOf(note, { amount, floor }),
});
