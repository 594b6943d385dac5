import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { UpstreamSettings } from '../../src/domain/settings.js';
import { type Call, forward } from '../../src/upstreams/forward.js';
import { createUpstreams, type Upstream, type Upstreams } from '../../src/upstreams/upstreams.js';

let server: Server;
let waiting: ServerResponse[] = [];
const open: Upstreams[] = [];

beforeEach(async () => {
  server = createServer((_req, res) => void waiting.push(res)).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  vi.useRealTimers();
  waiting = [];
  await Promise.all(open.splice(0).map((one) => one.destroy()));
  server.closeAllConnections();
  server.close();
});

const settingsOf = (more: Partial<UpstreamSettings> = {}): UpstreamSettings => ({
  name: 'one',
  baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
  apiKey: null,
  headers: {},
  models: [{ pattern: 'm', as: null }],
  priority: 0,
  timeouts: { connectMs: 5_000, firstByteMs: 5_000, idleMs: 5_000, totalMs: 0 },
  retries: 0,
  concurrency: 1,
  includeUsage: true,
  builtin: false,
  ...more,
});

function start(settings: UpstreamSettings[], before?: Upstreams): Upstreams {
  const upstreams = createUpstreams(settings, before);
  open.push(upstreams);
  return upstreams;
}

/** Resolves when the upstream has answered whole; fails when it has not. */
function ask(upstream: Upstream): Promise<void> {
  return new Promise((resolve, reject) => {
    const sink = { onHead: () => undefined, onData: () => true, onEnd: resolve, onFailure: reject };
    forward(upstream, { path: '/chat/completions', method: 'POST', headers: [], body: Buffer.from('{}') }, sink);
  });
}

const only = (upstreams: Upstreams): Upstream => {
  const [first] = upstreams.all;
  if (!first) throw new Error('there is no upstream');
  return first;
};

test('what runs at an upstream still counts after its settings were changed, until it has ended', async () => {
  const before = start([settingsOf()]);
  const running = ask(only(before));
  await expect.poll(() => waiting.length).toBe(1);
  const after = start([settingsOf({ headers: { 'x-new': '1' } }), settingsOf({ name: 'two' })], before);
  expect(after.all.map(({ inFlight }) => inFlight)).toEqual([1, 0]);
  waiting[0]?.end('{}');
  await running;
  expect(only(after).inFlight).toBe(0);
});

test('an upstream nobody changed keeps its connections', () => {
  const before = start([settingsOf()]);
  const after = start([settingsOf()], before);
  expect(only(after)).toBe(only(before));
});

test('whoever was admitted before a reload is still sent, and only then the old connections close', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const before = start([settingsOf(), settingsOf({ name: 'same' })]);
  const after = start([settingsOf({ headers: { 'x-new': '1' } }), settingsOf({ name: 'same' })], before);
  before.leaveTo(after);
  const late = ask(only(before));
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  waiting[0]?.end('{}');
  await late;
  vi.advanceTimersByTime(61_000);
  await vi.waitFor(() => expect(only(before).pool?.closed).toBe(true));
  expect(after.all.map(({ pool }) => pool?.closed)).toEqual([false, false]);
});

/** Upstreams that have sent everything at once, and what was done with each piece. */
async function taken(streams: number, take: (piece: number, call: () => Call | undefined) => boolean) {
  const [upstream, seen] = [only(start([settingsOf({ concurrency: 0 })])), { pieces: 0, bytes: 0 }];
  const over = Array.from({ length: streams }, () => {
    let call: Call | undefined;
    return new Promise<void>((resolve, reject) => {
      const onData = (chunk: Buffer): boolean => {
        seen.bytes += chunk.length;
        return take(++seen.pieces, () => call);
      };
      const sink = { onHead: () => undefined, onData, onEnd: resolve, onFailure: reject };
      call = forward(upstream, { path: '/x', method: 'POST', headers: [], body: Buffer.from('{}') }, sink);
    });
  });
  await vi.waitFor(() => expect(waiting.length).toBe(streams));
  for (const answer of waiting) answer.end(Buffer.alloc(LARGE, 'x'));
  await Promise.all(over);
  return seen;
}
const LARGE = 1_000_000;

const busy = (ms: number): void => {
  const until = performance.now() + ms;
  while (performance.now() < until);
};

test.each([
  ['never full', false],
  ['full each time, and empty again before the turn is over', true],
])('answers that take long to handle let everybody else have a turn in between, their readers being %s', async (_name, isFull) => {
  let turns = 0;
  const turning = setInterval(() => {
    turns += 1;
  }, 0);
  const { pieces, bytes } = await taken(8, (_piece, call) => {
    busy(12);
    if (isFull) process.nextTick(() => call()?.resume());
    return !isFull;
  });
  clearInterval(turning);
  expect(bytes).toBe(8 * LARGE);
  expect(turns).toBeGreaterThan(pieces * 0.6);
});

test('whoever has had its share of a turn and is full as well waits until it is told to go on', async () => {
  let isFull = false;
  let early = 0;
  const { bytes } = await taken(1, (piece, call) => {
    if (isFull) early += 1;
    busy(12);
    isFull = piece % 3 === 0;
    if (isFull) {
      setTimeout(() => {
        isFull = false;
        call()?.resume();
      }, 30);
    }
    return !isFull;
  });
  expect([bytes, early]).toEqual([LARGE, 0]);
});
