import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { command, type RedisCluster, startRedisCluster } from '../support/redis.js';
import { createSubject, openShard, type Subject } from './builders.js';
import { describeCreditStore } from './contract.js';

describeCreditStore('the Redis store on a cluster', async () => {
  const cluster = await startRedisCluster();
  const store = createRedisStore({ url: cluster.url, commandTimeoutMs: 5_000 });
  const close = async (): Promise<void> => {
    await store.close();
    await cluster.stop();
  };
  return { store, wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)), nowMs: () => Date.now(), close };
});

describe('a cluster in trouble', () => {
  let cluster: RedisCluster;
  let store: CreditStore;
  beforeAll(async () => {
    cluster = await startRedisCluster();
    store = createRedisStore({ url: cluster.url, commandTimeoutMs: 1_000 });
  });
  afterAll(async () => {
    await store.close();
    await cluster.stop();
  });

  test('is accepted when every slot is covered, and refused with a sentence when one is not', async () => {
    expect(await store.check()).toEqual({ ok: true });
    await command(cluster.nodes[0]?.port ?? 0, 'CLUSTER', 'DELSLOTS', '0');
    await expect
      .poll(() => store.check(), { timeout: 8_000 })
      .toMatchObject({ ok: false, sentence: expect.stringMatching(/16383 of 16384/) });
    await command(cluster.nodes[0]?.port ?? 0, 'CLUSTER', 'ADDSLOTS', '0');
    await expect.poll(() => store.check(), { timeout: 8_000 }).toEqual({ ok: true });
  });

  test('a shard that moved to another node is followed, and not trusted there before it is loaded', async () => {
    const org = await createSubject(store, { shard: 21 });
    expect(await org.hold(10)).toMatchObject({ kind: 'held' });
    const slot = (await command(cluster.nodes[0]?.port ?? 0, 'CLUSTER', 'KEYSLOT', '{21}')).slice(1).trim();
    const ids = await Promise.all(cluster.nodes.map(async ({ port }) => (await command(port, 'CLUSTER', 'MYID')).split('\r\n')[1] ?? ''));
    const from = Math.floor(Number(slot) / Math.ceil(16_384 / 3));
    const to = (from + 1) % 3;
    // The keys are left behind on purpose: a node that never had them is what the client must not trust.
    await command(cluster.nodes[from]?.port ?? 0, 'FLUSHALL');
    for (const node of [to, from]) await command(cluster.nodes[node]?.port ?? 0, 'CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] ?? '');
    expect(await org.hold(10)).toEqual({ kind: 'unavailable', reason: 'not_loaded', maybeDone: false });
    await openShard(store, '21');
    expect((await store.shards()).find(({ shard }) => shard === '21')).toMatchObject({ state: 'open' });
    expect(await org.hold(10)).toEqual({ kind: 'unknown_token' });
  });

  test('a node that dies takes only its own shards with it, and its return is noticed', async () => {
    const first = await createSubject(store, { shard: 1 });
    const owner = Math.floor(
      Number((await command(cluster.nodes[0]?.port ?? 0, 'CLUSTER', 'KEYSLOT', '{01}')).slice(1)) / Math.ceil(16_384 / 3),
    );
    for (const { port } of cluster.nodes) await command(port, 'CONFIG', 'SET', 'cluster-require-full-coverage', 'no');
    const elsewhere: Subject[] = [];
    for (let shard = 2; shard < 12; shard++) {
      const slot = Number(
        (await command(cluster.nodes[0]?.port ?? 0, 'CLUSTER', 'KEYSLOT', `{${String(shard).padStart(2, '0')}}`)).slice(1),
      );
      if (Math.floor(slot / Math.ceil(16_384 / 3)) !== owner) elsewhere.push(await createSubject(store, { shard }));
    }
    await cluster.nodes[owner]?.kill();
    await expect.poll(() => first.hold(1), { timeout: 5_000 }).toMatchObject({ kind: 'unavailable', maybeDone: false });
    expect(elsewhere.length).toBeGreaterThan(0);
    for (const org of elsewhere) await expect.poll(() => org.hold(1), { timeout: 5_000 }).toMatchObject({ kind: 'held' });
    await cluster.nodes[owner]?.restart();
    await expect.poll(() => first.hold(1), { timeout: 15_000 }).toMatchObject({ kind: 'unavailable', reason: 'not_loaded' });
  });
});
