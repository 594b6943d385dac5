import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createOfficeRelay } from '../../src/gateway/office.js';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

function listen(server: Server, where: number | string): Promise<Server> {
  undo.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Promise((resolve) => server.listen(where, () => resolve(server)));
}

async function relayed(patienceMs?: number): Promise<{ url: string; socket: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-office-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, 'office.sock');
  const relay = createOfficeRelay(socket, { trustedProxies: [], ...(patienceMs === undefined ? {} : { patienceMs }) });
  undo.push(() => relay.close());
  const server = await listen(createServer(relay.handle), 0);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`, socket };
}

const echo: RequestListener = (req, res) => {
  let text = '';
  req.on('data', (part: Buffer) => {
    text += part.toString();
  });
  req.on('end', () => res.end(text));
};

test('a request that comes before the office is there waits for it, with its whole body', async () => {
  const { url, socket } = await relayed();
  const body = 'x'.repeat(300_000);
  const asked = fetch(url, { method: 'POST', body });
  await new Promise((go) => setTimeout(go, 300));
  await listen(createServer(echo), socket);
  const answer = await asked;
  expect([answer.status, await answer.text()]).toEqual([200, body]);
});

test('an office that stays away is said at once, with a hint when to ask again', async () => {
  const { url } = await relayed(200);
  expect((await fetch(url)).status).toBe(503);
  const started = Date.now();
  const answer = await fetch(url);
  expect(answer.status).toBe(503);
  expect(answer.headers.get('retry-after')).toBe('2');
  expect(await answer.json()).toMatchObject({ code: 'management_unavailable' });
  expect(Date.now() - started).toBeLessThan(150);
});

test('after it was away, an office that is back is waited for again the next time', async () => {
  const { url, socket } = await relayed(200);
  await new Promise((go) => setTimeout(go, 250));
  expect((await fetch(url)).status).toBe(503);
  const first = await listen(createServer(echo), socket);
  expect((await fetch(url)).status).toBe(200);
  first.closeAllConnections();
  await new Promise((go) => first.close(go));
  const asked = fetch(url);
  await new Promise((go) => setTimeout(go, 100));
  await listen(createServer(echo), socket);
  expect((await asked).status).toBe(200);
});
