import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { command, type RedisServer, startRedis } from '../support/redis.js';
import { moveTo, stateOf } from './builders.js';

let server: RedisServer;
let mine: CreditStore;
let theirs: CreditStore;

beforeAll(async () => {
  server = await startRedis();
  [mine, theirs] = [0, 1].map(() => createRedisStore({ url: server.url, commandTimeoutMs: 5_000 })) as [CreditStore, CreditStore];
});
afterAll(async () => {
  await Promise.all([mine.close(), theirs.close()]);
  await server.stop();
});

/** How often all epochs were read so far, by scripts and by clients. */
async function reads(): Promise<number> {
  const said = await command(server.port, 'INFO', 'commandstats');
  return Number(/^cmdstat_mget:calls=(\d+)/m.exec(said)?.[1] ?? 0);
}

test('whoever looks again understands all epochs only when one of them has changed, whoever changed it', async () => {
  await moveTo(theirs, '11', 'filling');
  await mine.shards();
  const first = await mine.shards();
  const before = await reads();
  for (let i = 0; i < 5; i++) expect(await mine.shards()).toBe(first);
  expect(await reads()).toBe(before + 5);
  await moveTo(theirs, '11', 'open');
  const next = await reads();
  expect((await mine.shards()).find(({ shard }) => shard === '11')).toMatchObject({ state: 'open', whole: true });
  expect(await reads()).toBe(next + 2);
});

test('a store that was emptied, or whose epochs were put there by another server, is seen at the next look', async () => {
  await moveTo(mine, '12', 'filling');
  await moveTo(mine, '12', 'open');
  await mine.shards();
  const epoch = '{12}:epoch';
  const kept = (await command(server.port, 'GET', epoch)).split('\r\n')[1] ?? '';
  await command(server.port, 'SET', epoch, kept.replace(/:[0-9a-f]{40}:/, `:${'0'.repeat(40)}:`));
  expect(await stateOf(mine, '12')).toMatchObject({ state: 'absent', whole: false });
  await command(server.port, 'SET', epoch, kept);
  expect(await stateOf(mine, '12')).toMatchObject({ state: 'open' });
  await command(server.port, 'FLUSHALL');
  expect((await mine.shards()).every(({ state }) => state === 'absent')).toBe(true);
});
