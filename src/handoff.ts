import type { Worker } from 'node:cluster';

interface Handed {
  readonly seq: unknown;
  readonly connection: { close(): void };
}

/**
 * node:cluster accepts connections in the parent and hands them to workers one by one. One that was under way to a worker
 * when that was killed belongs to nobody: without this its client would wait for ever instead of trying again.
 */
export function closeLostConnections(worker: Worker): void {
  const channel = worker.process;
  const send = channel.send.bind(channel) as (...words: unknown[]) => boolean;
  let handed: Handed | null = null;
  channel.send = (...words: unknown[]) => {
    const [message, connection] = words as [{ seq?: unknown } | undefined, Handed['connection'] | undefined];
    if (connection && typeof connection.close === 'function') handed = { seq: message?.seq, connection };
    return send(...words);
  };
  channel.on('internalMessage', (message: { ack?: unknown }) => {
    if (handed && message.ack === handed.seq) handed = null;
  });
  worker.on('exit', () => handed?.connection.close());
}
