import type { Command } from 'ioredis';
import type { Unavailable } from '../store.js';
import { type Epochs, isLive, type Slot } from './epochs.js';
import { commandFailure, failureOf, unavailable } from './failures.js';
import type { Link } from './link.js';
import { Packet } from './packet.js';
import type { Script } from './scripts.js';
import type { Topology } from './topology.js';

/** What a command is answered: a word and what belongs to it, or only the number that says that all went as asked. */
export type Reply = readonly unknown[] | number;

/** One command on its way. */
export interface Task {
  readonly slot: Slot;
  /** Does not depend on the epoch. */
  readonly free: boolean;
  /** Nobody waits for the answer: it travels with the next that cannot wait, or after a moment. */
  readonly patient: boolean;
  /** The epoch under which it was sent. */
  life: string;
  tries: number;
  done(reply: Reply | Unavailable): void;
}

/** How commands of a kind are written into one call of their script, and its answer is cut into theirs. */
export interface Wire<T extends Task> {
  readonly script: Script;
  /** `name` and `body` are those of the call: by hash, or with the whole text of a script that the server has forgotten. */
  pack(batch: readonly T[], packet: Packet, name: string, body: string): Command;
  cut(reply: unknown, count: number): readonly Reply[];
}

interface Lane<T> {
  queue: T[];
  busy: boolean;
  scheduled: boolean;
  /** Somebody in the queue cannot wait. */
  urgent: boolean;
  /** The moment after which the patient ones go as well. */
  timer: NodeJS.Timeout | undefined;
  /** Written again only after the answer to what was in it: then all of it has left. */
  packet: Packet;
}

let batchNumber = 0;

/** Names the batch that is being packed, among all of this process. */
export function nextBatch(): number {
  batchNumber += 1;
  return batchNumber;
}

/** About half a millisecond of the server's time. */
const BATCH_MAX = 128;
const TRIES_MAX = 3;
const PATIENCE_MS = 1;

/**
 * Commands of one turn, and those that arrive while a batch is under way, travel together: one call for everything that
 * waits. On a single server all shards share a lane; in a cluster each shard has its own, because a call may only touch
 * one slot.
 */
export class Lanes<T extends Task> {
  readonly #topology: Topology;
  readonly #epochs: Epochs;
  readonly #wire: Wire<T>;
  readonly #lanes = new Map<string, Lane<T>>();
  #dirty: Lane<T>[] = [];

  constructor(parts: { readonly topology: Topology; readonly epochs: Epochs; readonly wire: Wire<T> }) {
    this.#topology = parts.topology;
    this.#epochs = parts.epochs;
    this.#wire = parts.wire;
  }

  submit(task: T): void {
    if (!task.free && !isLive(task.slot)) {
      this.#detour(task);
      return;
    }
    const lane = this.#laneOf(task.slot);
    lane.queue.push(task);
    if (!task.patient) lane.urgent = true;
    if (!lane.busy) this.#goOn(lane);
  }

  #laneOf(slot: Slot): Lane<T> {
    const name = this.#topology.cluster ? slot.shard : '';
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { queue: [], busy: false, scheduled: false, urgent: false, timer: undefined, packet: new Packet() };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  /** At once when somebody waits, else in a moment: a call for one costs as much as a call for many. */
  #goOn(lane: Lane<T>): void {
    if (lane.urgent) this.#schedule(lane);
    else if (lane.queue.length > 0) {
      lane.timer ??= setTimeout(() => {
        lane.timer = undefined;
        this.#flush(lane);
      }, PATIENCE_MS);
    }
  }

  #schedule(lane: Lane<T>): void {
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
  #detour(task: T): void {
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

  #flush(lane: Lane<T>): void {
    lane.scheduled = false;
    if (lane.busy) return;
    if (lane.queue.length <= BATCH_MAX) lane.urgent = false;
    const batch: T[] = [];
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
      this.#goOn(lane);
      return;
    }
    lane.busy = true;
    for (const task of batch) task.life = task.slot.life;
    const { script } = this.#wire;
    link
      .run(script, (name, body) => this.#wire.pack(batch, lane.packet, name, body))
      .then(
        (reply) => {
          lane.busy = false;
          this.#goOn(lane);
          const replies = this.#wire.cut(reply, batch.length);
          for (let i = 0; i < batch.length; i++) this.#take(batch[i] as T, replies[i]);
        },
        (error) => {
          lane.busy = false;
          this.#fail(lane, batch, link, error);
        },
      );
  }

  #take(task: T, reply: Reply | undefined): void {
    if (typeof reply === 'number') {
      task.done(reply);
      return;
    }
    const word = reply?.[0];
    if (word === 'epoch') {
      // The script itself says that it did nothing, so this is the one case in which a command may be sent again.
      task.slot.life = '';
      this.#detour(task);
    } else if (word === 'error') task.done(commandFailure(String(reply?.[1])));
    else if (word === 'filling' || word === 'open') task.done(unavailable('not_loaded', false));
    else task.done(reply ?? unavailable('broken', true));
  }

  #fail(lane: Lane<T>, batch: readonly T[], link: Link, error: unknown): void {
    const { answer, word } = failureOf(error);
    const late = answer.reason === 'timeout';
    lane.packet = new Packet();
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
    this.#goOn(lane);
  }
}
