import { Command } from 'ioredis';
import { StoreUnavailable } from '../commands.js';
import type { Unavailable } from '../store.js';
import type { Epochs, Slot } from './epochs.js';
import { type Lanes, nextBatch, type Reply, type Task, type Wire } from './lanes.js';
import { batchScript, type Verb } from './scripts.js';

/** A command of the verbs that are not asked for by every request. */
export interface Question extends Task {
  readonly verb: Verb;
  /** Keys beyond the three of the shard. */
  readonly keys: readonly string[];
  /** What its head carries, each field followed by `|`-separated others: ids and numbers only. */
  readonly fields: string;
  readonly texts: readonly string[];
}

/** As `batch.lua` reads them. */
export function questionWire(): Wire<Question> {
  return {
    script: batchScript(),
    pack: (batch, _, name, body) => {
      const { keys, args } = partsOf(batch);
      return new Command(name, [body, String(keys.length), ...keys, ...args], { replyEncoding: 'utf8' });
    },
    cut: (reply) => reply as readonly Reply[],
  };
}

function partsOf(batch: readonly Question[]): { readonly keys: string[]; readonly args: string[] } {
  const number = nextBatch();
  const keys: string[] = [];
  const lives: string[] = [];
  const slots: Slot[] = [];
  for (const { slot, life } of batch) {
    if (slot.batch === number) continue;
    slot.batch = number;
    slot.ordinal = lives.length;
    keys.push(slot.epochKey, slot.deadlinesKey, slot.streamKey);
    lives.push(life);
    slots.push(slot);
  }
  const args = [String(lives.length), ...lives];
  for (const { slot, verb, fields, texts, ...task } of batch) {
    for (const key of task.keys) keys.push(key);
    args.push(`${verb}|${slot.ordinal}|${task.keys.length}|${texts.length}|${fields}`);
    for (const text of texts) args.push(text);
  }
  keys.push(...slots.flatMap(({ names }) => names));
  return { keys, args };
}

/** Sends one command and reads its answer. */
export type Ask = <T>(command: Asked, read: (reply: readonly unknown[], life: string) => T) => Promise<T | Unavailable>;

interface Asked extends Pick<Question, 'verb' | 'keys' | 'fields' | 'texts'> {
  readonly shard: string;
  readonly free?: boolean;
}

export function createAsk(lanes: Lanes<Question>, epochs: Epochs): Ask {
  return (command, read) =>
    new Promise((resolve, reject) => {
      const { shard, verb, keys, fields, texts, free = false } = command;
      const done: Task['done'] = (reply) => {
        try {
          resolve(isUnavailable(reply) ? reply : read(typeof reply === 'number' ? [reply] : reply, task.life));
        } catch (error) {
          reject(error);
        }
      };
      const task: Question = { slot: epochs.slot(shard), verb, keys, fields, texts, free, patient: false, life: '', tries: 0, done };
      lanes.submit(task);
    });
}

export const isUnavailable = (reply: Reply | Unavailable): reply is Unavailable => typeof reply === 'object' && 'kind' in reply;

/** For verbs whose answer has no room for "cannot answer". */
export function orThrow(reply: readonly unknown[] | Unavailable, what: string): readonly unknown[] {
  if ('kind' in reply) throw new StoreUnavailable(reply.reason, what);
  return reply;
}
