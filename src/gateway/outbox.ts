import type { CreditStore, SettleCommand } from '../credits/store.js';
import type { RequestId } from '../domain/ids.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Journal } from './journal.js';

/**
 * Settlements on their way: first to our own journal, then to the hot store. What the store cannot take now is sent
 * again, as often as it needs: settling twice changes nothing. What it took is kept until Postgres has it.
 */
export interface Outbox {
  send(command: SettleCommand): void;
  /** Sends what the journal already has. */
  resend(command: SettleCommand): void;
  /** The epoch under which the store took it; undefined while it has not. */
  takenUnder(requestId: RequestId): string | undefined;
  forget(requestId: RequestId): void;
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
  const waiting = new Map<RequestId, SettleCommand>();
  const taken = new Map<RequestId, string>();
  const attempt = async (command: SettleCommand, delayMs: number): Promise<void> => {
    const answer = await parts.store.settle(command);
    if (answer.kind === 'settled') {
      waiting.delete(command.requestId);
      if (command.event !== null) taken.set(command.requestId, answer.epoch);
      return;
    }
    if (answer.kind === 'unavailable') parts.metrics.storeErrors.inc({ reason: answer.reason });
    setTimeout(() => start(command, Math.min(delayMs * 2, RETRY_MAX_MS)), delayMs * (0.5 + Math.random())).unref();
  };
  const start = (command: SettleCommand, delayMs: number): void => {
    attempt(command, delayMs).catch((error) => {
      parts.log.error({ err: error, request_id: command.requestId }, 'a settlement could not be sent');
      setTimeout(() => start(command, RETRY_MAX_MS), RETRY_MAX_MS).unref();
    });
  };
  const enqueue = (command: SettleCommand): void => {
    if (waiting.has(command.requestId)) return;
    waiting.set(command.requestId, command);
    start(command, RETRY_FIRST_MS);
  };
  return {
    send: (command) => {
      const { requestId, orgId, tokenId, cost, event } = command;
      if (event !== null) parts.journal.settled({ requestId, orgId, tokenId, cost, event });
      enqueue(command);
    },
    resend: enqueue,
    takenUnder: (requestId) => taken.get(requestId),
    forget: (requestId) => {
      taken.delete(requestId);
    },
    size: () => waiting.size,
  };
}
