import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { eventually, expectCleanBooks, quiet, walletOf } from './books.js';
import { sendCrowd } from './crowd.js';

const PRICE = 10_000_000;
const WORDS = JSON.stringify({ model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }] });
/** Ten thousand at once take a slow machine minutes; nothing is decided by how long. */
const DECIDED_MS = 240_000;
const config = {
  models: { 'fake-flat': { per: 'request', price: 10 } },
  // However slow the machine is: this is about who is let in, not about who is told to come back.
  gateway: { connections_max: 30_000, requests_max: 30_000, wait_max: '5m' },
};

let upstream: up.Upstream;
let redis: RedisServer;
let alone: Farebox;
let many: Farebox;

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  const [one, two] = await Promise.all([freshDatabase(inject('databaseUrl')), freshDatabase(inject('databaseUrl'))]);
  alone = await startFarebox({ upstream: upstream.url, config, databaseUrl: one.url });
  many = await startFarebox({ upstream: upstream.url, config, databaseUrl: two.url, redisUrl: redis.url, processes: 4 });
});
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

let crowds = 0;

/** A crowd comes, the upstream holds everybody who was let in, and the wallet is watched all the time. */
async function letIn(farebox: Farebox, what: { crowd: number; places: number; tokens?: Record<string, unknown>[]; orgCredits?: number }) {
  const orgId = await farebox.createOrg();
  await farebox.grant(orgId, what.orgCredits ?? what.places * 10);
  const made = await Promise.all((what.tokens ?? [{}]).map((options) => farebox.createToken(orgId, options)));
  const gate = `crowd ${++crowds}`;
  const before = upstream.requests.length;
  upstream.always(up.says(up.gate(gate), 'in', up.usage(1, 1)));
  const watch = watchWallet(farebox, orgId);
  const url = `${farebox.url}/v1/chat/completions`;
  const crowd = sendCrowd({ url, tokens: made.map(({ secret }) => secret), count: what.crowd, body: WORDS });
  const isDecided = () => crowd.answered() + upstream.requests.length - before >= what.crowd;
  await eventually('everybody is in or refused', async () => (isDecided() ? true : undefined), DECIDED_MS);
  const held = await walletOf(farebox, orgId);
  upstream.open(gate);
  const statuses = await crowd.statuses();
  const after = await quiet(farebox, orgId);
  return { orgId, statuses, held, after, lowest: await watch.stop(), served: upstream.requests.length - before };
}

function watchWallet(farebox: Farebox, orgId: string): { stop(): Promise<{ available: number; samples: number }> } {
  let watching = true;
  const lowest = { available: Number.POSITIVE_INFINITY, samples: 0 };
  const loop = (async () => {
    while (watching) {
      const { available } = await walletOf(farebox, orgId);
      lowest.available = Math.min(lowest.available, available);
      lowest.samples += 1;
      await new Promise((go) => setTimeout(go, 5));
    }
  })();
  return {
    stop: async () => {
      watching = false;
      await loop;
      return lowest;
    },
  };
}

const STORES = [
  ['one process', () => alone],
  ['four processes on Redis', () => many],
] as const;

// B8
test.each(STORES)('G1, G2: of 200 at once with credits for ten, ten are let in by %s', async (_name, server) => {
  const { statuses, held, after, lowest, served } = await letIn(server(), { crowd: 200, places: 10 });
  expect(statuses).toEqual({ 200: 10, '429 credits_in_flight': 190 });
  expect(served).toBe(10);
  expect(held).toMatchObject({ available: 0, inFlight: 10 * PRICE });
  expect(after).toMatchObject({ available: 0, settled: 0 });
  expect(lowest.available).toBe(0);
});

test.each(STORES)(
  'G1, G2: of 10,000 at once with credits for 137, exactly 137 are let in by %s, and the balance is never negative',
  async (_name, server) => {
    const { orgId, statuses, held, after, lowest, served } = await letIn(server(), { crowd: 10_000, places: 137 });
    expect(statuses).toEqual({ 200: 137, '429 credits_in_flight': 9_863 });
    expect(served).toBe(137);
    expect(held).toMatchObject({ available: 0, inFlight: 137 * PRICE });
    expect(after).toMatchObject({ available: 0, inFlight: 0, settled: 0 });
    expect(lowest.available).toBe(0);
    expect(lowest.samples).toBeGreaterThan(3);
    expect(await rowsOf(server(), orgId)).toHaveLength(137);
  },
  DECIDED_MS + 60_000,
);

async function rowsOf(farebox: Farebox, orgId: string): Promise<Record<string, unknown>[]> {
  const rows = await farebox.logs(orgId, '?limit=200&status=complete,partial,cancelled,orphaned,failed');
  expect(new Set(rows.map((row) => row['request_id'])).size).toBe(rows.length);
  return rows;
}

test.each(STORES)('B9: fifty tokens of one organization share its credits, in %s', async (_name, server) => {
  const tokens = Array.from({ length: 50 }, () => ({}));
  const { statuses, lowest } = await letIn(server(), { crowd: 1_000, places: 33, tokens });
  expect(statuses).toEqual({ 200: 33, '429 credits_in_flight': 967 });
  expect(lowest.available).toBe(0);
});

test.each(STORES)('B29: a token with a quota for seven gets seven, however rich its organization, in %s', async (_name, server) => {
  const { statuses, after } = await letIn(server(), { crowd: 500, places: 7, tokens: [{ quota: 70 }], orgCredits: 100_000 });
  expect(statuses).toEqual({ 200: 7, '429 credits_in_flight': 493 });
  expect(after.available).toBe(100_000_000_000 - 7 * PRICE);
});

test.each(STORES)('B29: with a quota for twenty and credits for twelve, twelve are let in, in %s', async (_name, server) => {
  const { statuses } = await letIn(server(), { crowd: 500, places: 12, tokens: [{ quota: 200 }] });
  expect(statuses).toEqual({ 200: 12, '429 credits_in_flight': 488 });
});

test.each(STORES)('after all of this the books of %s are clean and nothing is held', async (_name, server) => {
  await upstream.quiet();
  await expectCleanBooks(server(), []);
});
