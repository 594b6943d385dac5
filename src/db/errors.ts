/** What went wrong in the database, in words that may be shown, with the code Postgres or the driver gave it. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  /** A SQLSTATE (`23505`), or a word of the driver (`CONNECTION_CLOSED`), or `TIMEOUT`. */
  readonly code: string;
  readonly publicMessage: string;
  /** Name of the constraint that said no, when one did. */
  readonly constraint: string | null;
  /** Whether the statement may have been executed all the same: the connection was lost before the answer came. */
  readonly maybeDone: boolean;

  constructor(cause: unknown, code: string, message: string, maybeDone: boolean) {
    super(message); // without its cause: the driver hangs the statement and its values on it
    this.code = code;
    this.maybeDone = maybeDone;
    this.constraint = textOf(cause, 'constraint_name') ?? null;
    this.publicMessage = isAway(code)
      ? 'The database cannot be reached right now. Nothing was lost; please try again in a moment.'
      : 'The database refused this change. Nothing was written.';
  }
}

/** Turns whatever the driver threw into one of ours. */
export function databaseError(cause: unknown): DatabaseError {
  if (cause instanceof DatabaseError) return cause;
  const code = textOf(cause, 'code') ?? 'UNKNOWN';
  const message = cause instanceof Error ? cause.message : String(cause);
  return new DatabaseError(cause, code, message, LOST.has(code));
}

/** The answer was lost: the statement may have been executed. */
const LOST = new Set(['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'ECONNRESET', 'EPIPE', 'TIMEOUT', '57P01', '57P02']);
/** Nobody was there, or nobody who could take a statement right now. */
const AWAY = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'CONNECT_TIMEOUT',
  '57P03',
  '53300',
]);
/** The statement was rolled back entirely and may simply be run again. */
const AGAIN = new Set(['40001', '40P01']);

export const isLost = (code: string): boolean => LOST.has(code);
export const isAway = (code: string): boolean => LOST.has(code) || AWAY.has(code);
export const isRetryable = (code: string): boolean => AGAIN.has(code);

/** Trouble of the server as a whole, not of the statement: away, full, read-only, shutting down, out of connections. */
export const isOutage = (error: unknown): boolean => {
  const { code } = databaseError(error);
  return isAway(code) || isRetryable(code) || /^(?:53|57|58|08|25006|55P03|XX)/.test(code);
};

function textOf(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found: unknown = Reflect.get(value, name);
  return typeof found === 'string' ? found : undefined;
}
