import type { CreditStore, StreamEntry } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { monotonicMs } from '../domain/clock.js';
import { SHARDS } from '../domain/ids.js';

export interface Cursors {
  /** What was reached before; entries after a lost cursor are simply read again. */
  load(): Promise<void>;
  forget(): void;
  /** The next entries, merged over all shards, at most so many and so much. */
  read(entriesMax: number, bytesMax: number): Promise<readonly StreamEntry[]>;
  /** Moves past a batch, except in the shards named, and lets the store drop what is old enough. */
  advance(batch: readonly StreamEntry[], except: ReadonlySet<string>): Promise<void>;
}

const NAMES = Array.from({ length: SHARDS }, (_, i) => String(i).padStart(2, '0'));
const EPOCH_CHECK_MS = 1_000;
const TRIM_EVERY_MS = 5_000;
const AT_ONCE = 16;

/**
 * How far each shard's stream has been read. A shard that was wiped or rolled back (its epoch changed) starts over: its
 * old positions say nothing about the new stream.
 */
export function createCursors(parts: { readonly db: Database; readonly store: CreditStore; readonly keepMs: number }): Cursors {
  const { db, store } = parts;
  let known: Map<string, { epoch: string; cursor: string }> | undefined;
  let checkedMs = Number.NEGATIVE_INFINITY;
  let trimmedMs = 0;
  let start = 0;

  const load = async (): Promise<void> => {
    const rows = await db.query<{ shard: string; epoch: string; cursor: string }>('select shard, epoch, cursor from drain_cursors', [], {
      idempotent: true,
    });
    known = new Map(rows.map((row) => [row.shard, { epoch: row.epoch, cursor: row.cursor }]));
    checkedMs = Number.NEGATIVE_INFINITY;
  };

  const check = async (): Promise<void> => {
    if (!known) await load();
    if (monotonicMs() - checkedMs < EPOCH_CHECK_MS) return;
    for (const { shard, epoch } of await store.shards()) {
      if (known?.get(shard)?.epoch !== epoch) known?.set(shard, { epoch, cursor: '' });
    }
    checkedMs = monotonicMs();
  };

  const read = async (entriesMax: number, bytesMax: number): Promise<readonly StreamEntry[]> => {
    await check();
    const batch: StreamEntry[] = [];
    let bytes = 0;
    // Starts behind the shard that came last, so that a busy one cannot starve the others.
    for (let done = 0; done < NAMES.length; done += AT_ONCE) {
      const names = Array.from({ length: AT_ONCE }, (_, i) => NAMES[(start + i) % NAMES.length] ?? '00');
      const lists = await Promise.all(
        names.map((shard) => store.entries(shard, known?.get(shard)?.cursor ?? '', Math.ceil(entriesMax / 4))),
      );
      for (const list of lists) {
        for (const entry of list) {
          bytes += entry.event.length;
          if (batch.length > 0 && (batch.length >= entriesMax || bytes > bytesMax)) return batch;
          batch.push(entry);
        }
        start = (start + 1) % NAMES.length;
      }
    }
    return batch;
  };

  const advance = async (batch: readonly StreamEntry[], except: ReadonlySet<string>): Promise<void> => {
    const moved = new Map<string, string>();
    for (const entry of batch) {
      const shard = entry.orgId.slice(4, 6);
      if (!except.has(shard)) moved.set(shard, entry.cursor);
    }
    for (const [shard, cursor] of moved) known?.set(shard, { epoch: known.get(shard)?.epoch ?? '', cursor });
    if (moved.size > 0)
      await save(
        db,
        [...moved].map(([shard, cursor]) => ({ shard, epoch: known?.get(shard)?.epoch ?? '', cursor })),
      );
    if (monotonicMs() - trimmedMs < TRIM_EVERY_MS) return;
    trimmedMs = monotonicMs();
    await trimAll(store, known ?? new Map(), parts.keepMs);
  };

  const forget = (): void => {
    known = undefined;
  };
  return { load, read, advance, forget };
}

async function save(
  db: Database,
  rows: readonly { readonly shard: string; readonly epoch: string; readonly cursor: string }[],
): Promise<void> {
  await db.query(
    `insert into drain_cursors as c (shard, epoch, cursor) select * from unnest($1::text[], $2::text[], $3::text[])
     on conflict (shard) do update set epoch = excluded.epoch, cursor = excluded.cursor, updated_at = now()`,
    [rows.map((row) => row.shard), rows.map((row) => row.epoch), rows.map((row) => row.cursor)],
    { idempotent: true },
  );
}

async function trimAll(
  store: CreditStore,
  known: ReadonlyMap<string, { readonly epoch: string; readonly cursor: string }>,
  keepMs: number,
): Promise<void> {
  const read = [...known].filter(([, { cursor }]) => cursor !== '');
  await Promise.all(read.map(([shard, { epoch, cursor }]) => store.trim(shard, cursor, keepMs, epoch)));
}
