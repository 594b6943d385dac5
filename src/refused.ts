import type { Worker } from 'node:cluster';
import type { RefusedRequest } from './domain/refused.js';

/** Refused requests on their way from a gateway to the process that writes the logs, by way of the primary. */
export type RefusedMessage = { readonly farebox: 'refused'; readonly rows: readonly RefusedRequest[] };

/** In a gateway: a batch goes when the one before it is out; until then the answer is no. */
export function refusedToPrimary(): (rows: readonly RefusedRequest[]) => boolean {
  let isBusy = false;
  return (rows) => {
    if (isBusy || !process.send) return false;
    isBusy = true;
    process.send({ farebox: 'refused', rows } satisfies RefusedMessage, undefined, undefined, () => {
      isBusy = false;
    });
    return true;
  };
}

/** An office that does not read its messages must not fill the memory of the primary. */
const UNREAD_MAX = 16;

/** In the primary: hands batches on to the office; without one, or when it is far behind, they are dropped. */
export function createRefusedPost(office: () => Worker | undefined): (message: Partial<RefusedMessage> | null) => void {
  let unread = 0;
  return (message) => {
    const worker = message?.farebox === 'refused' ? office() : undefined;
    if (!worker?.isConnected() || unread >= UNREAD_MAX) return;
    unread += 1;
    worker.send(message as RefusedMessage, (_error: Error | null) => {
      unread -= 1;
    });
  };
}

/** In the office. */
export function onRefusedMessage(take: (rows: readonly RefusedRequest[]) => void): void {
  process.on('message', (message: Partial<RefusedMessage> | null) => {
    if (message?.farebox === 'refused' && message.rows) take(message.rows);
  });
}
