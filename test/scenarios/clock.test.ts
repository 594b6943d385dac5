import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { type RequestId, requestTimeMs } from '../../src/domain/ids.js';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, eventually, expectCleanBooks, fakeCost, post, quiet, requestIdOf, rowOf, scriptOf, walletOf } from './books.js';

const HOUR = 3_600_000;
const LEASE_MS = 3_000;
const folder = mkdtempSync(join(tmpdir(), 'farebox-clock-'));
const clock = join(folder, 'ahead');
const sleep = (ms: number) => new Promise((go) => setTimeout(go, ms));

let upstream: up.Upstream;
let redis: RedisServer;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

async function setClock(aheadMs: number): Promise<void> {
  writeFileSync(clock, String(aheadMs));
  await sleep(150);
}

beforeAll(async () => {
  await setClock(0);
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  const preload = pathToFileURL(join(import.meta.dirname, '../../proof/moving-clock.mjs')).href;
  farebox = await startFarebox({
    upstream: upstream.url,
    databaseUrl: (await freshDatabase(inject('databaseUrl'))).url,
    redisUrl: redis.url,
    processes: 2,
    config: { gateway: { lease: '3s', heartbeat: '1s' } },
    env: { NODE_OPTIONS: `--import=${preload}`, MOVING_CLOCK: clock },
  });
  const { orgId, token } = await farebox.customer(100);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(async () => {
  await Promise.all([upstream.stop(), redis.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

const body = JSON.stringify({ model: 'fake-model', stream: true, max_tokens: 100, messages: [{ role: 'user', content: 'hi' }] });

// `total` is an hour as well: by the time of day each of these streams has run for longer than that, or for less than nothing.
test.each([
  ['back by two hours', -2 * HOUR],
  ['ahead by two hours', 2 * HOUR],
])('a server whose clock is set %s keeps its leases, cuts no stream and bills it as ever', async (_name, aheadMs) => {
  await setClock(0);
  const gate = `set-${aheadMs}`;
  will(up.says('one ', up.gate(gate), 'two', up.usage(11, 7)));
  const before = await quiet(farebox, me.orgId);
  const stream = post(me, '/v1/chat/completions', body);
  await upstream.reached(gate);
  await setClock(aheadMs);
  // Twice as long as a hold lives without a heartbeat.
  await sleep(2 * LEASE_MS);
  const during = await walletOf(farebox, me.orgId);
  expect(during.inFlight).toBeGreaterThan(0);
  will(up.says('meanwhile', up.usage(3, 2)));
  const other = await post(me, '/v1/chat/completions', body).end();
  expect(other.status).toBe(200);
  upstream.open(gate);
  const result = await stream.end();
  expect(result.status).toBe(200);
  expect(result.done).toBe(true);
  const row = await rowOf(farebox, me.orgId, requestIdOf(result));
  expect(row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(11, 7) } });
  expect(row.flags).not.toContain('owner_vanished');
  const after = await quiet(farebox, me.orgId);
  expect(before.available - after.available).toBe(fakeCost(11, 7) + fakeCost(3, 2));
  await setClock(0);
});

test('what is charged while a clock is forty days ahead is set aside; when it is right again, so are the requests', async () => {
  const before = await quiet(farebox, me.orgId);
  const asked = async () => {
    will(up.says('x', up.usage(3, 2)));
    const result = await post(me, '/v1/chat/completions', body).end();
    expect(result.status).toBe(200);
    return requestIdOf(result);
  };
  const setAside = async () => (await farebox.api('GET', '/api/v1/admin/set-aside')).body['data'] as { id: string; request_id: string }[];
  await setClock(40 * 24 * HOUR);
  const wrong = await asked();
  const [aside] = await eventually('it is set aside', async () => ((await setAside()).length > 0 ? setAside() : undefined));
  expect(aside?.request_id).toBe(wrong);
  await setClock(0);
  const right = await asked();
  expect(await rowOf(farebox, me.orgId, right)).toMatchObject({ status: 'complete', charged: { micro: fakeCost(3, 2) } });
  expect(Math.abs(requestTimeMs(right as RequestId) - Date.now())).toBeLessThan(HOUR);
  const dropped = await farebox.api('POST', `/api/v1/admin/set-aside/${aside?.id}/drop`, { reason: 'the clock was wrong' });
  expect(dropped.status).toBe(200);
  expect(before.available - (await quiet(farebox, me.orgId)).available).toBe(fakeCost(3, 2));
});

test('afterwards the books agree', async () => {
  await setClock(0);
  await expectCleanBooks(farebox, [me.orgId]);
});
