import { StoreUnavailable } from '../commands.js';
import type { Unavailable } from '../store.js';
import { type Epochs, isLive, type Slot } from './epochs.js';
import { commandFailure, failureOf, unavailable } from './failures.js';
import type { Link } from './link.js';
import type { Script, Verb } from './scripts.js';
import type { Topology } from './topology.js';

export type Reply = readonly unknown[];

/** One command on its way. */
export interface Task {
  readonly slot: Slot;
  readonly verb: Verb;
  /** Keys beyond the three of the shard. */
  readonly keys: readonly string[];
  /** What its head carries, each field followed by `|`-separated others: ids and numbers only. */
  readonly fields: string;
  readonly texts: readonly string[];
  /** Does not depend on the epoch. */
  readonly free: boolean;
  /** The epoch under which it was sent. */
  life: string;
  tries: number;
  done(reply: Reply | Unavailable): void;
}

interface Lane {
  queue: Task[];
  busy: boolean;
  scheduled: boolean;
}

/** About half a millisecond of the server's time. */
const BATCH_MAX = 128;
const TRIES_MAX = 3;

/**
 * Commands of one turn, and those that arrive while a batch is under way, travel together: one call for everything that
 * waits. On a single server all shards share a lane; in a cluster each shard has its own, because a call may only touch
 * one slot.
 */
export class Lanes {
  readonly #topology: Topology;
  readonly #epochs: Epochs;
  readonly #script: Script;
  readonly #lanes = new Map<string, Lane>();
  #dirty: Lane[] = [];

  constructor(parts: { readonly topology: Topology; readonly epochs: Epochs; readonly script: Script }) {
    this.#topology = parts.topology;
    this.#epochs = parts.epochs;
    this.#script = parts.script;
  }

  submit(task: Task): void {
    if (!task.free && !isLive(task.slot)) {
      this.#detour(task);
      return;
    }
    const lane = this.#laneOf(task.slot);
    lane.queue.push(task);
    if (!lane.busy) this.#schedule(lane);
  }

  #laneOf(slot: Slot): Lane {
    const name = this.#topology.cluster ? slot.shard : '';
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { queue: [], busy: false, scheduled: false };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #schedule(lane: Lane): void {
    if (lane.scheduled) return;
    lane.scheduled = true;
    if (this.#dirty.push(lane) > 1) return;
    setImmediate(() => {
      const dirty = this.#dirty;
      this.#dirty = [];
      for (const one of dirty) this.#flush(one);
    });
  }

  /** The epoch of the shard is not known, or not any more: it is read, once for all who wait, before anything is sent. */
  #detour(task: Task): void {
    task.tries += 1;
    if (task.tries > TRIES_MAX) {
      task.done(unavailable('not_loaded', false));
      return;
    }
    this.#epochs.read(task.slot).then(
      ({ state }) => {
        if (state === 'absent' && !task.free) task.done(unavailable('not_loaded', false));
        else this.submit(task);
      },
      (error) => task.done({ ...failureOf(error).answer, maybeDone: false }),
    );
  }

  #flush(lane: Lane): void {
    lane.scheduled = false;
    if (lane.busy) return;
    const batch: Task[] = [];
    // The connection may have changed since a command was queued; then its epoch says nothing about this server.
    for (const task of lane.queue.splice(0, BATCH_MAX)) {
      if (task.free || isLive(task.slot)) batch.push(task);
      else this.#detour(task);
    }
    const first = batch[0];
    if (!first) return;
    const link = this.#topology.linkOf(first.slot.shard);
    if (!link?.isReady()) {
      this.#topology.refresh().catch(() => undefined);
      for (const task of batch) task.done(unavailable('unreachable', false));
      if (lane.queue.length > 0) this.#schedule(lane);
      return;
    }
    lane.busy = true;
    const { keys, args } = pack(batch);
    link.run(this.#script, keys, args).then(
      (replies) => {
        lane.busy = false;
        if (lane.queue.length > 0) this.#schedule(lane);
        for (let i = 0; i < batch.length; i++) this.#take(batch[i] as Task, (replies as readonly Reply[])[i]);
      },
      (error) => {
        lane.busy = false;
        this.#fail(lane, batch, link, error);
      },
    );
  }

  #take(task: Task, reply: Reply | undefined): void {
    const word = reply?.[0];
    if (word === 'epoch') {
      // The script itself says that it did nothing, so this is the one case in which a command may be sent again.
      task.slot.life = '';
      this.#detour(task);
    } else if (word === 'error') task.done(commandFailure(String(reply?.[1])));
    else if (word === 'filling' || word === 'open') task.done(unavailable('not_loaded', false));
    else task.done(reply ?? unavailable('broken', true));
  }

  #fail(lane: Lane, batch: readonly Task[], link: Link, error: unknown): void {
    const { answer, word } = failureOf(error);
    const late = answer.reason === 'timeout';
    if (late) link.reset();
    if (late || word !== '') for (const task of batch) task.slot.life = '';
    if (word === 'MOVED') {
      const again = (): void => {
        for (const task of batch) this.#detour(task);
      };
      this.#topology.refresh().then(again, again);
    } else {
      if (word !== '') this.#topology.refresh().catch(() => undefined);
      for (const task of batch) task.done(answer);
    }
    // What waited behind a call that was not answered in time is told at once, instead of waiting as long again.
    if (late) for (const task of lane.queue.splice(0)) task.done(unavailable('timeout', false));
    if (lane.queue.length > 0) this.#schedule(lane);
  }
}

let batchNo = 0;

/** Keys and arguments as `batch.lua` reads them. */
function pack(batch: readonly Task[]): { readonly keys: string[]; readonly args: string[] } {
  batchNo += 1;
  const keys: string[] = [];
  const lives: string[] = [];
  for (const task of batch) {
    const { slot } = task;
    if (slot.batch !== batchNo) {
      slot.batch = batchNo;
      slot.ordinal = lives.length;
      keys.push(slot.epochKey, slot.deadlinesKey, slot.streamKey);
      lives.push(slot.life);
    }
  }
  const args = [String(lives.length), ...lives];
  for (const task of batch) {
    const { slot, texts } = task;
    task.life = slot.life;
    for (const key of task.keys) keys.push(key);
    args.push(`${task.verb}|${slot.ordinal}|${task.keys.length}|${texts.length}|${task.fields}`);
    for (const text of texts) args.push(text);
  }
  return { keys, args };
}

/** Sends one command and reads its answer. */
export type Ask = <T>(command: Command, read: (reply: Reply, life: string) => T) => Promise<T | Unavailable>;

interface Command extends Pick<Task, 'verb' | 'keys' | 'fields' | 'texts'> {
  readonly shard: string;
  readonly free?: boolean;
}

export function createAsk(lanes: Lanes, epochs: Epochs): Ask {
  return (command, read) =>
    new Promise((resolve, reject) => {
      const { shard, verb, keys, fields, texts, free = false } = command;
      const done = (reply: Reply | Unavailable): void => {
        try {
          resolve('kind' in reply ? reply : read(reply, task.life));
        } catch (error) {
          reject(error);
        }
      };
      const task: Task = { slot: epochs.slot(shard), verb, keys, fields, texts, free, life: '', tries: 0, done };
      lanes.submit(task);
    });
}

/** For verbs whose answer has no room for "cannot answer". */
export function orThrow(reply: Reply | Unavailable, what: string): Reply {
  if ('kind' in reply) throw new StoreUnavailable(reply.reason, what);
  return reply;
}
