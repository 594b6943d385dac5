import type { Database } from '../db/client.js';
import type { RefusedRequest } from '../domain/refused.js';
import { sendable } from './event.js';

export interface RefusedDesk {
  /** Never waits and never throws; false = too many are waiting, and this batch is not taken. */
  take(rows: readonly RefusedRequest[]): boolean;
  /** Resolves when nothing waits. */
  idle(): Promise<void>;
}

export interface RefusedDeskParts {
  readonly db: Database;
  readonly priceVersion: () => string;
  /** Told what has a row now. */
  readonly onWritten: (rows: readonly RefusedRequest[]) => void;
  /** These have no row and get none. */
  readonly onLost: (count: number, cause: unknown) => void;
}

const WAITING_MAX = 2_000;
const BATCH_MAX = 500;
const WRITE_MS = 5_000;

/**
 * Writes refused requests into the logs, one statement at a time. They are news, not money: when the database is away or
 * too slow they are dropped, and nobody tries again.
 */
export function createRefusedDesk(parts: RefusedDeskParts): RefusedDesk {
  let waiting: RefusedRequest[] = [];
  let isWriting = false;
  let done: Promise<void> = Promise.resolve();

  const write = async (): Promise<void> => {
    isWriting = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH_MAX);
      waiting = waiting.slice(BATCH_MAX);
      try {
        const written = await postRefused(parts.db, batch, parts.priceVersion());
        parts.onWritten(batch.filter(({ request_id }) => written.has(request_id)));
      } catch (cause) {
        parts.onLost(batch.length, cause);
      }
    }
    isWriting = false;
  };
  return {
    take: (rows) => {
      if (waiting.length + rows.length > WAITING_MAX) return false;
      waiting.push(...rows);
      if (!isWriting) done = write();
      return true;
    },
    idle: () => done,
  };
}

/** One statement; a request that has a row already is left out. Answers which have one because of it. */
export async function postRefused(db: Database, rows: readonly RefusedRequest[], priceVersion: string): Promise<ReadonlySet<string>> {
  const written = await db.query<{ id: string }>(
    'select id from post_refused($1::text::json, $2) as id',
    [sendable(JSON.stringify(rows)), priceVersion],
    {
      idempotent: true,
      timeoutMs: WRITE_MS,
    },
  );
  return new Set(written.map(({ id }) => id));
}
