import type { IncomingMessage } from 'node:http';
import { clientAddress } from '../domain/addresses.js';

/** Who asks, as far as the connection and the proxies we trust can tell. */
export function addressOf({ socket, headers }: IncomingMessage, trusted: readonly string[]): string | undefined {
  const forwarded = headers['x-forwarded-for'];
  return clientAddress({ peer: socket.remoteAddress, forwarded: Array.isArray(forwarded) ? forwarded.join(',') : forwarded, trusted });
}
