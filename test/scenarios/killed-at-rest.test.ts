import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { eventually, expectCleanBooks, post, quiet, walletOf } from './books.js';

let upstream: up.Upstream;
let redis: RedisServer;
beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
});
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

const BODY = JSON.stringify({ model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }] });
const REQUESTS = 60;
const CREDITS = 10 * REQUESTS + 5;

/** How many requests the journal says are booked. */
const booked = ({ data }: Farebox): number =>
  readdirSync(join(data, 'journal', '0'))
    .flatMap((name) => readFileSync(join(data, 'journal', '0', name), 'utf8').split('\n'))
    .filter((line) => line.startsWith('B\t'))
    .reduce((sum, line) => sum + line.split(' ').length, 0);

test('killed when all is booked, a server says nothing of it again: the credits of its next start are what they were', async () => {
  const options = {
    upstream: upstream.url,
    databaseUrl: (await freshDatabase(inject('databaseUrl'))).url,
    redisUrl: redis.url,
    processes: 1,
    config: { models: { 'fake-flat': { per: 'request', price: 10 } } },
  };
  const first = await startFarebox(options);
  const { orgId, token } = await first.customer(CREDITS);
  const client = { farebox: first, orgId, token };
  upstream.always(() => up.says('x', up.usage(1, 1)));
  for (let i = 0; i < REQUESTS; i++) expect((await post(client, '/v1/chat/completions', BODY).end()).status).toBe(200);
  const atRest = await quiet(first, orgId);
  expect(atRest.available).toBe(5_000_000);
  await eventually('the journal says so', async () => (booked(first) === REQUESTS ? true : undefined));
  await first.kill();
  const second = await startFarebox({ ...options, data: first.data });
  const seen = new Set<number>();
  for (const until = Date.now() + 3_000; Date.now() < until; ) {
    const { available, inFlight } = await walletOf(second, orgId);
    seen.add(available).add(inFlight);
  }
  expect([...seen].sort()).toEqual([0, 5_000_000]);
  await expectCleanBooks(second, [orgId]);
  expect(second.stdout() + second.stderr()).not.toContain('finishing what the last run left');
});
