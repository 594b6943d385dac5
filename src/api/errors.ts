import { redact } from '../telemetry/log.js';
import { databaseAway, internal, type Problem } from './problem.js';

/** What a thrown error looks like from outside: its `publicMessage` if it has one, and never anything else of it. */
export function problemOf(error: unknown): Problem {
  if (isAway(error)) return databaseAway();
  const said = publicMessageOf(error);
  return said === undefined ? internal() : { ...internal(), detail: redact(said) };
}

function publicMessageOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('publicMessage' in error)) return undefined;
  return typeof error.publicMessage === 'string' ? error.publicMessage : undefined;
}

/** Codes of the driver and of Postgres (class 08 and 57P, too many connections) that mean: not now. */
const AWAY =
  /^(?:CONNECTION_|CONNECT_TIMEOUT$|TIMEOUT$|ECONN|ENOTFOUND$|EPIPE$|ETIMEDOUT$|EAI_|ENOENT$|08\d{3}$|57P\d\d$|53300$|57014$|55P03$)/;

function isAway(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('code' in error)) return false;
  return typeof error.code === 'string' && AWAY.test(error.code);
}
