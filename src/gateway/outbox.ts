import type { CreditStore, SettleCommand } from '../credits/store.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';

/** Settlements on their way to the hot store. What it cannot take now is kept and sent again: settling twice changes nothing. */
export interface Outbox {
  send(command: SettleCommand): void;
  size(): number;
}

const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 2_000;

export function createOutbox(parts: { readonly store: CreditStore; readonly metrics: Metrics; readonly log: Log }): Outbox {
  const waiting = new Map<string, SettleCommand>();
  const attempt = async (command: SettleCommand, delayMs: number): Promise<void> => {
    const answer = await parts.store.settle(command);
    if (answer.kind !== 'unavailable') {
      waiting.delete(command.requestId);
      parts.metrics.unconfirmed.set(waiting.size);
      return;
    }
    parts.metrics.storeErrors.inc({ reason: answer.reason });
    const timer = setTimeout(() => start(command, Math.min(delayMs * 2, RETRY_MAX_MS)), delayMs * (0.5 + Math.random()));
    timer.unref();
  };
  const start = (command: SettleCommand, delayMs: number): void => {
    attempt(command, delayMs).catch((error) => {
      parts.log.error({ err: error, request_id: command.requestId }, 'a settlement could not be sent');
      setTimeout(() => start(command, RETRY_MAX_MS), RETRY_MAX_MS).unref();
    });
  };
  return {
    send: (command) => {
      waiting.set(command.requestId, command);
      start(command, RETRY_FIRST_MS);
    },
    size: () => waiting.size,
  };
}
