import { connect, createServer, type Socket } from 'node:net';

/** A balancer as people run them: it asks each server whether it is ready, and sends a new connection to the ready one with the fewest. */
export interface Balancer {
  readonly url: string;
  /** When the last connection to this server ended; 0 = none has yet. */
  lastEndOf(port: number): number;
  openTo(port: number): number;
  stop(): Promise<void>;
}

const ASK_EVERY_MS = 50;

export async function startBalancer(ports: readonly number[]): Promise<Balancer> {
  const ready = new Set(ports);
  const open = new Map(ports.map((port) => [port, new Set<Socket>()]));
  const ended = new Map<number, number>();
  const timer = setInterval(() => {
    for (const port of ports) {
      void fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(1_000) })
        .then((answer) => answer.arrayBuffer().then(() => answer.ok))
        .catch(() => false)
        .then((isReady) => void (isReady ? ready.add(port) : ready.delete(port)));
    }
  }, ASK_EVERY_MS);
  const listener = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const load = (port: number): number => open.get(port)?.size ?? 0;
    const [port] = [...ready].sort((a, b) => load(a) - load(b));
    if (port === undefined) return client.destroy();
    const server = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    open.get(port)?.add(client);
    client.pipe(server);
    server.pipe(client);
    const end = (): void => {
      client.destroy();
      server.destroy();
      if (open.get(port)?.delete(client)) ended.set(port, Date.now());
    };
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
    return undefined;
  });
  await new Promise<void>((go) => listener.listen({ port: 0, host: '127.0.0.1', backlog: 2_048 }, go));
  const address = listener.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    lastEndOf: (port) => ended.get(port) ?? 0,
    openTo: (port) => open.get(port)?.size ?? 0,
    stop: () => {
      clearInterval(timer);
      for (const sockets of open.values()) for (const socket of sockets) socket.destroy();
      return new Promise((go) => listener.close(() => go()));
    },
  };
}
