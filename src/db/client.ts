import postgres from 'postgres';
import { monotonicMs } from '../domain/clock.js';
import { askedFrom } from '../telemetry/origin.js';
import { DatabaseError, databaseError, isAway, isLost, isRetryable } from './errors.js';
import { type Param, parameter, TYPES } from './values.js';

export type { Param };

export interface QueryOptions {
  /** How long the caller waits; afterwards the statement is cancelled and a `TIMEOUT` is thrown. */
  readonly timeoutMs?: number;
  /** Running it twice is the same as running it once: a lost connection is answered by asking again. */
  readonly idempotent?: boolean;
}

/**
 * Statements, one at a time. There is no way to open a transaction of several: this driver can commit half of one when
 * its connection is cut, so whatever belongs together is one statement.
 */
export interface Database {
  query<Row extends object>(text: string, params?: readonly Param[], options?: QueryOptions): Promise<Row[]>;
  /** The first row, if there is one. */
  one<Row extends object>(text: string, params?: readonly Param[], options?: QueryOptions): Promise<Row | undefined>;
  /** Several statements as one batch of the simple protocol; for migrations. */
  script(text: string, options?: QueryOptions): Promise<void>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly max?: number;
  readonly timeoutMs?: number;
  readonly connectTimeoutMs?: number;
  readonly name?: string;
  /** Told when all connections were thrown away because the server stopped answering. */
  readonly onReset?: () => void;
}

const TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** How long a cancelled statement may take to admit it before its connection counts as dead. */
const CANCEL_GRACE_MS = 1_000;
const CONFLICT_ATTEMPTS = 8;
const LOST_ATTEMPTS = 4;
const PAUSE_MS = 10;

type Driver = ReturnType<typeof connect>;
type Pending = ReturnType<Driver['unsafe']>;

/** The only door to Postgres. */
export function openDatabase(options: DatabaseOptions): Database {
  const standard = options.timeoutMs ?? TIMEOUT_MS;
  let driver = connect(options);

  // The driver cannot drop a single connection, so when a server hangs without a word all of them are replaced.
  const reset = (stuck: Driver): void => {
    if (stuck !== driver) return;
    driver = connect(options);
    options.onReset?.();
    stuck.end({ timeout: 0 }).catch(() => undefined);
  };

  const attempt = async (start: (driver: Driver) => Pending, timeoutMs: number): Promise<unknown[]> => {
    const used = driver;
    const running = start(used);
    return within(running, timeoutMs, () => reset(used));
  };

  const run = async (start: (driver: Driver) => Pending, given: QueryOptions): Promise<unknown[]> => {
    const deadline = monotonicMs() + (given.timeoutMs ?? standard);
    for (let tries = 1; ; tries++) {
      try {
        return await attempt(start, Math.max(1, deadline - monotonicMs()));
      } catch (cause) {
        const error = databaseError(cause);
        const again =
          (isRetryable(error.code) && tries < CONFLICT_ATTEMPTS) ||
          (given.idempotent === true && (isLost(error.code) || isAway(error.code)) && tries < LOST_ATTEMPTS);
        const pause = PAUSE_MS * 2 ** tries * (0.5 + Math.random());
        if (!again || monotonicMs() + pause >= deadline) throw error;
        await new Promise((go) => setTimeout(go, pause));
      }
    }
  };

  const query = async <Row extends object>(text: string, params: readonly Param[] = [], given: QueryOptions = {}): Promise<Row[]> => {
    const values = params.map(parameter);
    const address = askedFrom();
    // Kept out of the prepared ones: there would be one for every address.
    const rows = await run(
      (sql) => (address ? sql.unsafe(`${text} /* asked from ${address} */`, values) : sql.unsafe(text, values, { prepare: true })),
      given,
    );
    return [...(rows as Row[])];
  };
  return {
    query,
    one: async <Row extends object>(text: string, params?: readonly Param[], given?: QueryOptions) =>
      (await query<Row>(text, params, given))[0],
    script: async (text, given = {}) => {
      await run((sql) => sql.unsafe(text).simple(), given);
    },
    close: () => driver.end({ timeout: 5 }),
  };
}

function connect(options: DatabaseOptions) {
  const url = new URL(options.url);
  const socketFolder = url.searchParams.get('host');
  url.searchParams.delete('host');
  const urlMax = Number(url.searchParams.get('max') ?? 0);
  url.searchParams.delete('max');
  const statementMs = (options.timeoutMs ?? TIMEOUT_MS) * 4;
  return postgres(url.href, {
    // What the address says wins: PGlite serves one connection, and mixes up the statements of several.
    max: urlMax || (options.max ?? 8),
    ...(socketFolder ? { path: `${socketFolder}/.s.PGSQL.${url.port || '5432'}` } : {}),
    connect_timeout: (options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS) / 1000,
    idle_timeout: 60,
    backoff: (attempts) => Math.min(0.05 * 2 ** attempts, 1),
    // Types are named in values.ts; asking the server for more costs a query per connection.
    fetch_types: false,
    types: TYPES,
    onnotice: () => undefined,
    connection: {
      application_name: options.name ?? 'farebox',
      TimeZone: 'UTC',
      statement_timeout: statementMs,
      idle_in_transaction_session_timeout: statementMs,
    },
  });
}

/** The answer, or a `TIMEOUT` when it does not come in time; then the statement is cancelled, and its server given up. */
function within(running: Pending, timeoutMs: number, giveUp: () => void): Promise<unknown[]> {
  return new Promise((done, failed) => {
    let settled = false;
    const timer = setTimeout(() => {
      failed(new DatabaseError(undefined, 'TIMEOUT', `no answer within ${timeoutMs} ms`, true));
      try {
        running.cancel();
      } catch {
        // A statement that was never sent has nothing to cancel.
      }
      setTimeout(() => settled || giveUp(), CANCEL_GRACE_MS).unref();
    }, timeoutMs);
    running.then(
      (rows) => {
        settled = true;
        clearTimeout(timer);
        done(rows);
      },
      (error: unknown) => {
        settled = true;
        clearTimeout(timer);
        failed(error);
      },
    );
  });
}
