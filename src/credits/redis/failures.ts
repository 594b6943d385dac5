import { StoreUnavailable } from '../commands.js';
import type { Unavailable } from '../store.js';

export interface Failure {
  readonly answer: Unavailable;
  /** The first word of the server's error, or '' when it is not the server's. */
  readonly word: string;
}

/** The whole script was refused before its first line: nothing was executed. */
const REFUSED = new Set([
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'CROSSSLOT',
  'LOADING',
  'BUSY',
  'MASTERDOWN',
  'NOAUTH',
  'NOPERM',
  'NOSCRIPT',
]);
/** The server takes no writes at all right now. */
const NO_WRITES = new Set(['READONLY', 'MISCONF', 'NOREPLICAS']);

/** What an error of a whole call means for every command in it. Unknown errors may have been executed. */
export function failureOf(error: unknown): Failure {
  if (error instanceof StoreUnavailable) return failure('', error.reason, error.reason === 'timeout');
  const message = error instanceof Error ? error.message : String(error);
  if (message === 'Command timed out') return failure('', 'timeout', true);
  if (message.startsWith("Stream isn't writeable")) return failure('', 'unreachable', false);
  const word = /^[A-Z]+(?= |$)/.exec(message)?.[0] ?? '';
  if (REFUSED.has(word)) return failure(word, 'unreachable', false);
  return word === '' ? failure(word, 'unreachable', true) : { answer: commandFailure(message), word };
}

/** What one command of a script found: it reads everything before it writes, so nothing was written. */
export function commandFailure(message: string): Unavailable {
  const word = /(?:^|[\s'-])(OOM|READONLY|MISCONF|NOREPLICAS)\b/.exec(message)?.[1] ?? '';
  if (word === 'OOM') return unavailable('full', false);
  return unavailable(NO_WRITES.has(word) ? 'unreachable' : 'broken', false);
}

export const unavailable = (reason: Unavailable['reason'], maybeDone: boolean): Unavailable => ({ kind: 'unavailable', reason, maybeDone });

const failure = (word: string, reason: Unavailable['reason'], maybeDone: boolean): Failure => ({
  word,
  answer: unavailable(reason, maybeDone),
});
