import type { CreditStore, SettleCommand, ShardState } from '../credits/store.js';
import { type OrgId, shardOf } from '../domain/ids.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Entry } from './entries.js';
import { rowOf } from './event.js';
import type { HeldLine, Journal, SettledLine } from './journal.js';
import type { OpenRequests } from './open.js';
import type { Outbox } from './outbox.js';

export interface Recovery {
  /** What the last life of this process left unfinished: its settlements are sent again, its open holds end at their floor. */
  replay(): void;
  /** Confirms what Postgres has. Called about once a second. */
  tick(): Promise<void>;
  /** After the store was lost, gives it back what only we know. */
  look(states: readonly ShardState[]): void;
}

const ASK_AT_ONCE = 500;

export function createRecovery(parts: {
  readonly store: CreditStore;
  readonly journal: Journal;
  readonly outbox: Outbox;
  readonly open: OpenRequests;
  readonly metrics: Metrics;
  readonly log: Log;
}): Recovery {
  const { store, journal, outbox, open, log } = parts;
  const epochs = new Map<string, string>();

  const look = (states: readonly ShardState[]): void => {
    const lost = new Set<string>();
    for (const { shard, state, epoch } of states) {
      const before = epochs.get(shard);
      if (state === 'absent' || lifeOf(epoch) === before) continue;
      epochs.set(shard, lifeOf(epoch));
      if (before === undefined) continue;
      open.restore(shard);
      lost.add(shard);
    }
    if (lost.size === 0) return;
    log.warn({ shards: lost.size }, 'the hot store lost what it had; open holds and unconfirmed settlements are sent again');
    const lines = journal.replay().settled.filter(({ line }) => lost.has(shardOf(line.orgId)));
    for (const { line, entry } of lines) outbox.resend(settleCommand(line), entry);
  };

  /** Only of what was taken before we asked does "not pending" mean "booked". What another life of the data took is lost. */
  const confirm = async (orgId: OrgId, entries: readonly Entry[]): Promise<readonly Entry[]> => {
    const asked = entries.flatMap((entry) => (entry.takenUnder === undefined ? [] : { entry, under: entry.takenUnder }));
    if (asked.length === 0) return [];
    const answer = await store.pending(
      orgId,
      asked.map(({ entry }) => entry.requestId),
    );
    if (answer.kind === 'unavailable') return [];
    const pending = new Set(answer.ids);
    const lost: Entry[] = [];
    for (const { entry, under } of asked) {
      if (entry.takenUnder !== under) continue;
      const isSameLife = lifeOf(under) === lifeOf(answer.epoch);
      if (isSameLife && pending.has(entry.requestId)) continue;
      entry.takenUnder = undefined;
      if (isSameLife) journal.confirmed(entry);
      else lost.push(entry);
    }
    return lost;
  };

  return {
    replay: () => {
      const left = journal.replay();
      if (left.settled.length + left.held.length + left.damaged > 0) {
        const counts = { settlements: left.settled.length, holds: left.held.length, damaged: left.damaged };
        log[left.damaged > 0 ? 'error' : 'info'](counts, 'finishing what the last run left');
      }
      for (const { line, entry } of left.settled) outbox.resend(settleCommand(line), entry);
      for (const { line, entry } of left.held) outbox.send(floorCommand(line), entry);
    },
    look,
    tick: async () => {
      let count = 0;
      const lost = new Set<Entry>();
      for (const [orgId, entries] of [...journal.unconfirmed()]) {
        count += entries.length;
        for (let at = 0; at < entries.length; at += ASK_AT_ONCE) {
          for (const entry of await confirm(orgId, entries.slice(at, at + ASK_AT_ONCE))) lost.add(entry);
        }
      }
      // The store was lost between taking them and our next look: nobody else will say them again.
      if (lost.size > 0) {
        for (const { line, entry } of journal.replay().settled) if (lost.has(entry)) outbox.resend(settleCommand(line), entry);
      }
      parts.metrics.unconfirmed.set(count);
    },
  };
}

/** `filling` and `open` of one reload are the same life of the data. */
const lifeOf = (epoch: string): string => epoch.replace(/:(?:filling|open)$/, '');

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
