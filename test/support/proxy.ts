import { connect, createServer, type Socket } from 'node:net';

/**
 * What happens between a client and its server: `pass` everything; `swallow` replies (the server runs the command, the
 * client never hears of it); `cut` connections and refuse new ones; `delay` both ways.
 */
export type ProxyMode = 'pass' | 'swallow' | 'cut' | 'delay';

export interface TcpProxy {
  readonly port: number;
  mode(next: ProxyMode, delayMs?: number): void;
  /** Destroys every connection now; new ones are accepted. */
  cutAll(): void;
  /** Bytes that the server answered and nobody got, since the mode was last set. */
  swallowed(): number;
  stop(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** A TCP proxy on 127.0.0.1 that knows no protocol: fit for Redis, Postgres and upstreams alike. */
export async function startTcpProxy(target: { readonly host?: string; readonly port: number }): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let mode: ProxyMode = 'pass';
  let delayMs = 0;
  let swallowed = 0;
  const pass = (to: Socket, chunk: Buffer): void => {
    if (mode !== 'delay') to.write(chunk);
    else setTimeout(() => to.write(chunk), delayMs);
  };
  const listener = createServer((client) => {
    if (mode === 'cut') {
      client.destroy();
      return;
    }
    const server = connect(target.port, target.host ?? '127.0.0.1');
    const pair = { client, server };
    pairs.add(pair);
    client.setNoDelay(true);
    server.setNoDelay(true);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.on('error', end);
      socket.on('close', end);
    }
    client.on('data', (chunk) => pass(server, chunk));
    server.on('data', (chunk) => {
      if (mode === 'swallow') swallowed += chunk.length;
      else pass(client, chunk);
    });
  });
  const cutAll = (): void => {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
  };
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const address = listener.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    mode: (next, ms = 0) => {
      mode = next;
      delayMs = ms;
      swallowed = 0;
      if (next === 'cut') cutAll();
    },
    cutAll,
    swallowed: () => swallowed,
    stop: () => {
      cutAll();
      return new Promise((resolve) => listener.close(() => resolve()));
    },
  };
}
