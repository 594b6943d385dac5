import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createEntrance, type Entrance } from '../../src/gateway/entrance.js';
import { createParking } from '../../src/gateway/parking.js';
import { createLog } from '../../src/telemetry/log.js';
import { createMetrics } from '../../src/telemetry/metrics.js';

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

const REQUEST = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}';
const later = (ms: number) => new Promise((go) => setTimeout(go, ms));

/** Calls with whole requests: what was not read when the answer is over is read then, whatever else was meant. */
async function listen(listener: (req: IncomingMessage, res: ServerResponse) => void): Promise<number> {
  const server = createServer((req, res) => {
    req.on('end', () => listener(req, res)).resume();
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A connection that is kept: asks, and hears the status of each answer. */
async function client(port: number) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  sockets.push(socket);
  const statuses: string[] = [];
  let heard = () => {};
  let rest = '';
  socket.on('data', (bytes) => {
    rest += bytes.toString('latin1');
    for (let end = rest.indexOf('\r\n\r\n'); end >= 0; end = rest.indexOf('\r\n\r\n')) {
      const length = Number(/content-length: (\d+)/i.exec(rest.slice(0, end))?.[1]);
      if (rest.length < end + 4 + length) return;
      statuses.push(rest.slice(9, 12));
      rest = rest.slice(end + 4 + length);
    }
    heard();
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const ask = async (): Promise<string | undefined> => {
    const had = statuses.length;
    socket.write(REQUEST);
    while (statuses.length === had && !socket.destroyed) {
      await new Promise<void>((go) => {
        heard = go;
        socket.once('close', go);
      });
    }
    return statuses[had];
  };
  return { socket, statuses, ask };
}

interface Crowded {
  readonly port: number;
  readonly entrance: Entrance;
  readonly seen: { busiest: number; served: number };
  readonly clock: { aheadMs: number };
}

/** Answers whoever has come in a moment later; knows how many it had to carry at most since it was last asked. */
async function entranceWith(waitMaxMs: number): Promise<Crowded> {
  const seen = { busiest: 0, served: 0 };
  const clock = { aheadMs: 0 };
  const entrance = createEntrance(
    {
      log: createLog('silent'),
      metrics: createMetrics({ defaults: false }),
      clock: { nowMs: () => Date.now() + clock.aheadMs },
      settings: { waitMaxMs },
    },
    async (_req, res) => {
      await later(1);
      seen.served += 1;
      res.end('ok');
    },
  );
  const port = await listen((req, res) => {
    entrance.take({ req, res });
    seen.busiest = Math.max(seen.busiest, entrance.busy());
  });
  return { port, entrance, seen, clock };
}

const crowdOf = async (port: number, count: number) => {
  const all = [];
  for (let i = 0; i < count; i += 100)
    all.push(...(await Promise.all(Array.from({ length: Math.min(100, count - i) }, () => client(port)))));
  return all;
};

test('when many more ask than can be served, few are carried at a time, everybody is served, and nothing said meanwhile is lost', async () => {
  const { port, seen, entrance } = await entranceWith(60_000);
  const crowd = await crowdOf(port, 1_500);
  const first = await Promise.all(crowd.map(({ ask }) => ask()));
  expect(new Set(first)).toEqual(new Set(['200']));
  // From here on those who have had an answer are heard when it is their turn.
  const rounds = Promise.all(
    crowd.map(async ({ ask }) => {
      const had = [];
      for (let round = 0; round < 2; round++) had.push(await ask());
      return had;
    }),
  );
  while (seen.served < 1_500 * 1.5) await later(1);
  seen.busiest = 0;
  const statuses = (await rounds).flat();
  expect(statuses).toHaveLength(3_000);
  expect(new Set(statuses)).toEqual(new Set(['200']));
  expect(seen.served).toBe(4_500);
  expect(seen.busiest).toBeLessThan(600);
  await expect.poll(() => entrance.busy()).toBe(0);
  expect(await crowd[0]?.ask()).toBe('200');
}, 60_000);

test('whoever stood outside for longer than the limit is told so, not served late', async () => {
  const now = { ms: 1_000 };
  const parking = createParking(() => now.ms);
  const answered: (number | undefined)[] = [];
  const port = await listen((req, res) => {
    answered.push(parking.waitedSinceMs(req.socket));
    res.end('ok');
    if (answered.length === 1) res.once('finish', () => parking.park(req.socket));
  });
  const { ask } = await client(port);
  expect(await ask()).toBe('200');
  expect(answered).toEqual([undefined]);
  const second = ask();
  await later(50);
  expect(answered).toHaveLength(1);
  expect(parking.size()).toBe(1);
  now.ms += 7_000;
  parking.release(5);
  expect(await second).toBe('200');
  expect(answered).toEqual([undefined, 1_000]);
  now.ms += 1_000;
  expect(await ask()).toBe('200');
  expect(answered).toEqual([undefined, 1_000, undefined]);
});

test('connections are heard again in the order in which they were parked; who has left is passed over', async () => {
  const parking = createParking(Date.now);
  const heard: number[] = [];
  const port = await listen((req, res) => {
    heard.push(req.socket.remotePort ?? 0);
    res.end('ok');
    if (parking.size() < 3 && heard.length <= 3) res.once('finish', () => parking.park(req.socket));
  });
  const [one, two, three] = [await client(port), await client(port), await client(port)];
  for (const each of [one, two, three]) expect(await each.ask()).toBe('200');
  const ports = [one, two, three].map(({ socket }) => socket.localPort);
  heard.length = 3;
  const asked = [three.ask(), one.ask()];
  two.socket.destroy();
  await later(20);
  expect(heard).toEqual(ports);
  parking.release(1);
  expect(await asked[1]).toBe('200');
  expect(heard[3]).toBe(ports[0]);
  parking.release(Number.POSITIVE_INFINITY);
  expect(await asked[0]).toBe('200');
  expect(heard[4]).toBe(ports[2]);
  expect(parking.size()).toBe(0);
});

test('when the entrance is opened everybody is heard at once', async () => {
  const { port, entrance, seen } = await entranceWith(60_000);
  const crowd = await crowdOf(port, 1_200);
  const asked = crowd.map(async ({ ask }) => [await ask(), await ask()]);
  while (seen.served < 900) await later(1);
  entrance.open();
  expect(new Set((await Promise.all(asked)).flat())).toEqual(new Set(['200']));
}, 60_000);
