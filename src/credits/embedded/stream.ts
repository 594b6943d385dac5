import { InvalidCommand } from '../commands.js';
import type { StreamEntry } from '../store.js';
import type { Shard } from './state.js';

/** Settled charges on their way to Postgres, kept in memory and therefore bounded. */
export interface Stream {
  add(shard: Shard, entry: Omit<StreamEntry, 'cursor'>, nowMs: number): void;
  after(shard: Shard, cursor: string, limit: number): readonly StreamEntry[];
  trim(shard: Shard, cursor: string, keepMs: number, nowMs: number): void;
  /** No room for new requests; what is running may still settle. */
  isCrowded(): boolean;
  isFull(): boolean;
}

/** The last fifth is kept for requests that are already running. */
const CROWDED = 0.8;
/** What an entry costs beside its text: ids, cursor, and the pending charge that goes with it. */
const ENTRY_BYTES = 400;
const CURSOR = /^(\d{1,15})-(\d{1,15})$/;

export function createStream(bytesMax: number): Stream {
  let bytes = 0;
  return {
    isCrowded: () => bytes >= bytesMax * CROWDED,
    isFull: () => bytes >= bytesMax,
    add: (shard, entry, nowMs) => {
      if (nowMs > shard.lastMs) {
        shard.lastMs = nowMs;
        shard.lastSeq = 0;
      } else shard.lastSeq += 1;
      shard.stream.push({ ...entry, cursor: `${shard.lastMs}-${shard.lastSeq}` });
      bytes += sizeOf(entry);
    },
    after: (shard, cursor, limit) => {
      const from = firstAfter(shard.stream, cursor);
      return shard.stream.slice(from, from + limit);
    },
    trim: (shard, cursor, keepMs, nowMs) => {
      const read = firstAfter(shard.stream, cursor);
      const old = firstAfter(shard.stream, `${Math.max(0, nowMs - keepMs - 1)}-999999999999999`);
      const gone = shard.stream.splice(0, Math.min(read, old));
      for (const entry of gone) bytes -= sizeOf(entry);
    },
  };
}

const sizeOf = (entry: { readonly event: string }): number => ENTRY_BYTES + entry.event.length * 2;

/** Where the entries after a cursor begin; they are in order. */
function firstAfter(stream: readonly StreamEntry[], cursor: string): number {
  if (cursor === '') return 0;
  const [ms, seq] = parts(cursor);
  let low = 0;
  let high = stream.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const [otherMs, otherSeq] = parts(stream[middle]?.cursor ?? '0-0');
    if (otherMs < ms || (otherMs === ms && otherSeq <= seq)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function parts(cursor: string): readonly [number, number] {
  const match = CURSOR.exec(cursor);
  if (!match) throw new InvalidCommand(`not a cursor: ${cursor.slice(0, 80)}`);
  return [Number(match[1]), Number(match[2])];
}
