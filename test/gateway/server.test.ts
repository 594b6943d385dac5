import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { GatewaySettings } from '../../src/domain/settings.js';
import { createHttpServer } from '../../src/gateway/server.js';

const NONE = {
  connectionsMax: 0,
  connectionsPerAddressMax: 0,
  headerBytesMax: 16_384,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
} as GatewaySettings;
const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function serverWith(caps: Partial<GatewaySettings>): Promise<number> {
  const server = createHttpServer({ ...NONE, ...caps }, (_req, res) => res.end('ok'));
  servers.push(server);
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** True when a request over a new connection is answered; the connection stays. */
function isServed(port: number, localAddress = '127.0.0.1'): Promise<boolean> {
  const socket = connect({ port, host: localAddress, localAddress });
  sockets.push(socket);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  return new Promise((resolve) => {
    socket.once('data', (bytes) => resolve(bytes.toString().startsWith('HTTP/1.1 200')));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

test('beyond connections_max a connection is closed, and one that has ended makes room', async () => {
  const port = await serverWith({ connectionsMax: 2 });
  expect(await isServed(port)).toBe(true);
  expect(await isServed(port)).toBe(true);
  expect(await isServed(port)).toBe(false);
  sockets[0]?.destroy();
  await expect.poll(() => isServed(port)).toBe(true);
});

test('beyond connections_per_address_max only that address has to wait', async () => {
  const port = await serverWith({ connectionsPerAddressMax: 2 });
  expect(await isServed(port)).toBe(true);
  expect(await isServed(port)).toBe(true);
  expect(await isServed(port)).toBe(false);
  expect(await isServed(port, '127.0.0.2')).toBe(true);
  sockets[0]?.destroy();
  await expect.poll(() => isServed(port)).toBe(true);
});

test('without caps nobody is turned away', async () => {
  const port = await serverWith({});
  const served = await Promise.all(Array.from({ length: 50 }, () => isServed(port)));
  expect(served.filter(Boolean)).toHaveLength(50);
});
