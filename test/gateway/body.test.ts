import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Read, readBody } from '../../src/gateway/body.js';

let server: Server;
let reading: Promise<Read> | undefined;

beforeEach(async () => {
  reading = undefined;
  server = createServer((req, res) => {
    reading = readBody(req, 2_000_000);
    void reading.then(() => res.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** Sends a body in parts, with its length said before or not. */
async function sent(parts: readonly Buffer[], stated?: number): Promise<Read> {
  const headers = stated === undefined ? {} : { 'content-length': stated };
  const asking = request({ port: (server.address() as AddressInfo).port, method: 'POST', headers });
  asking.on('error', () => undefined);
  for (const part of parts) await new Promise((go) => asking.write(part, go));
  asking.end();
  await once(asking, 'response');
  if (!reading) throw new Error('no request came');
  return reading;
}

const part = (byte: string, bytes: number): Buffer => Buffer.alloc(bytes, byte);
const PARTS = [part('a', 100_000), part('b', 200_000), part('c', 300_000)];

test.each([
  ['with its length said before', 600_000],
  ['without', undefined],
])('a large body is whole, in order, and where threads can see it without a copy, %s', async (_name, stated) => {
  const read = await sent(PARTS, stated);
  if (read.kind !== 'body') throw new Error(read.kind);
  expect(read.bytes.equals(Buffer.concat(PARTS))).toBe(true);
  expect(read.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
});

test('a small body is what was sent', async () => {
  const read = await sent([Buffer.from('{"a"'), Buffer.from(':1}')]);
  expect(read).toEqual({ kind: 'body', bytes: Buffer.from('{"a":1}') });
});

test.each([
  ['with its length said before', 2_000_001],
  ['without', undefined],
])('a body larger than allowed is refused, %s', async (_name, stated) => {
  expect(await sent([part('a', 1_000_000), part('b', 1_000_001)], stated)).toMatchObject({ kind: 'refused', error: { status: 413 } });
});

test('whoever leaves in the middle is gone', async () => {
  const asking = request({ port: (server.address() as AddressInfo).port, method: 'POST', headers: { 'content-length': 600_000 } });
  asking.on('error', () => undefined);
  await new Promise((go) => asking.write(part('a', 300_000), go));
  await vi.waitFor(() => expect(reading).toBeDefined(), 10_000);
  asking.destroy();
  expect(await reading).toEqual({ kind: 'gone' });
});
