import type { CreditStore, SettleCommand } from '../credits/store.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Entry } from './entries.js';
import type { Journal } from './journal.js';

/**
 * Settlements on their way: first to our own journal, then to the hot store. What the store cannot take now is sent
 * again, as often as it needs: settling twice changes nothing. What it took is kept until Postgres has it.
 */
export interface Outbox {
  /** `entry` is what the journal has of the request; a hold that may not even stand has none. */
  send(command: SettleCommand, entry?: Entry): void;
  /** Sends what the journal already has. */
  resend(command: SettleCommand, entry: Entry): void;
  /** Not taken by the store yet. */
  size(): number;
}

const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 1_000;

export function createOutbox(parts: {
  readonly store: CreditStore;
  readonly journal: Journal;
  readonly metrics: Metrics;
  readonly log: Log;
}): Outbox {
  let waiting = 0;
  const done = (entry: Entry | undefined, epoch: string): void => {
    waiting -= 1;
    if (!entry) return;
    entry.onItsWay = false;
    entry.takenUnder = epoch;
  };
  const start = (command: SettleCommand, entry: Entry | undefined, delayMs: number): void => {
    parts.store.settle(command).then(
      (answer) => {
        if (answer.kind === 'settled') {
          done(entry, answer.epoch);
          return;
        }
        if (answer.kind === 'unavailable') parts.metrics.storeErrors.inc({ reason: answer.reason });
        setTimeout(() => start(command, entry, Math.min(delayMs * 2, RETRY_MAX_MS)), delayMs * (0.5 + Math.random())).unref();
      },
      (error: unknown) => {
        parts.log.error({ err: error, request_id: command.requestId }, 'a settlement could not be sent');
        setTimeout(() => start(command, entry, RETRY_MAX_MS), RETRY_MAX_MS).unref();
      },
    );
  };
  const enqueue = (command: SettleCommand, entry: Entry | undefined): void => {
    // What is on its way will be answered, and the answer says which life of the data has it.
    if (entry) entry.again = false;
    if (entry?.onItsWay) return;
    if (entry) {
      entry.onItsWay = true;
      entry.takenUnder = undefined;
    }
    waiting += 1;
    start(command, entry, RETRY_FIRST_MS);
  };
  return {
    send: (command, known) => {
      const { requestId, orgId, tokenId, cost, event } = command;
      if (event === null) enqueue(command, undefined);
      else enqueue(command, parts.journal.settled({ requestId, orgId, tokenId, cost, event }, known));
    },
    resend: enqueue,
    size: () => waiting,
  };
}
