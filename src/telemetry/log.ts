import { type DestinationStream, destination, type Logger, pino } from 'pino';

export type Log = Logger;

/**
 * One JSON line per event on standard error, so that standard output stays for people. Callers log named facts, never
 * whole requests, headers or errors of other libraries: a prompt or a key must have no way in.
 */
export function createLog(level: string, stream?: DestinationStream): Log {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: errorFacts } }, stream ?? destination(2));
}

/** Only name, code and a bounded message: request objects hang on errors of HTTP libraries, and keys hang on requests. */
export function errorFacts(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error).slice(0, 300) };
  const code = (error as NodeJS.ErrnoException).code;
  const stack = error.stack
    ?.split('\n')
    .slice(1, 6)
    .map((line) => line.trim());
  return { name: error.name, ...(code ? { code } : {}), message: redact(error.message).slice(0, 300), stack };
}

const SECRET = /\b(sk|mk|ok|rk|pk|whsec)[-_][A-Za-z0-9_-]{6,}/g;

/** Anything that looks like a key of ours or of a provider. */
export const redact = (text: string): string => text.replace(SECRET, '$1-…');
