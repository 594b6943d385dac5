import { connect, createServer, type Socket } from 'node:net';

/**
 * A balancer as people run them: it asks each server whether it is ready, and sends a new connection to the ready one with
 * the fewest. Who says no is out at once; who says nothing only after a while, because a busy machine is no dead one. When
 * nobody says yes, whoever listens is asked all the same.
 */
export interface Balancer {
  readonly url: string;
  /** When the last connection to this server ended; 0 = none has yet. */
  lastEndOf(port: number): number;
  openTo(port: number): number;
  stop(): Promise<void>;
}

const ASK_EVERY_MS = 50;
const SILENT_MAX = 100;

async function askReady(port: number): Promise<'ready' | 'not_ready' | 'gone' | 'silent'> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(5_000), headers: { connection: 'close' } });
    await answer.arrayBuffer();
    return answer.ok ? 'ready' : 'not_ready';
  } catch (error) {
    return (error as { cause?: { code?: string } }).cause?.code === 'ECONNREFUSED' ? 'gone' : 'silent';
  }
}

export async function startBalancer(ports: readonly number[]): Promise<Balancer> {
  const ready = new Set(ports);
  const gone = new Set<number>();
  const open = new Map(ports.map((port) => [port, new Set<Socket>()]));
  const ended = new Map<number, number>();
  const silent = new Map<number, number>();
  const timer = setInterval(() => {
    for (const port of ports) {
      void askReady(port).then((answer) => {
        silent.set(port, answer === 'silent' ? (silent.get(port) ?? 0) + 1 : 0);
        if (answer === 'ready') ready.add(port);
        else if (answer !== 'silent' || (silent.get(port) ?? 0) >= SILENT_MAX) ready.delete(port);
        if (answer === 'gone') gone.add(port);
        else gone.delete(port);
      });
    }
  }, ASK_EVERY_MS);
  const listener = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const load = (port: number): number => open.get(port)?.size ?? 0;
    const able = ready.size > 0 ? [...ready] : ports.filter((one) => !gone.has(one));
    const [port] = able.sort((a, b) => load(a) - load(b));
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
