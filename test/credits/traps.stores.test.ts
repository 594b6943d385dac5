import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { newRequestId } from '../../src/domain/ids.js';
import { startTcpProxy } from '../support/proxy.js';
import { command, type RedisServer, startRedis } from '../support/redis.js';
import { createSubject, DIGEST, openShard, type Subject, stateOf } from './builders.js';

/** What a Redis and its client do wrong by themselves, one test each. */
const TIMEOUT_MS = 1_000;
const NOT_LOADED = { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };
const BROKEN = { kind: 'unavailable', reason: 'broken', maybeDone: false };

let server: RedisServer;
let store: CreditStore;
let org: Subject;

beforeAll(async () => {
  server = await startRedis();
  store = createRedisStore({ url: server.url, commandTimeoutMs: TIMEOUT_MS });
});

beforeEach(async () => {
  org = await createSubject(store, { avail: 1_000 });
});

afterAll(async () => {
  await store.close();
  await server.stop();
});

const key = (name: string): string => `{${org.shard}}:${name}`;

describe('the connection', () => {
  test('a swallowed reply: the command ran once, the caller is told that it may have, and undoes it by id', async () => {
    const proxy = await startTcpProxy({ port: server.port });
    const far = createRedisStore({ url: `redis://127.0.0.1:${proxy.port}`, commandTimeoutMs: 400 });
    await org.extend(newRequestId(), 1); // now the server knows the script, so the reply that is lost is that of the hold
    await far.lookup(org.tokenId);
    const hold = { requestId: newRequestId(), orgId: org.orgId, tokenId: org.tokenId, digest: DIGEST, tokenVersion: 1, orgVersion: 1 };
    const rest = { amount: 10 as never, tokens: 1, leaseMs: 20_000, note: '{}', idempotencyKey: null };
    proxy.mode('swallow');
    const answer = far.hold({ ...hold, ...rest });
    await expect.poll(() => proxy.swallowed()).toBeGreaterThan(0);
    proxy.mode('pass');
    proxy.cutAll();
    expect(await answer).toMatchObject({ kind: 'unavailable', maybeDone: true });
    expect((await org.state()).held).toBe(10);
    await expect.poll(() => far.hold({ ...hold, ...rest })).toMatchObject({ kind: 'held', amount: 10, repeated: true });
    expect((await org.state()).held).toBe(10);
    const settled = { ...hold, kind: 'final', cost: 4 as never, event: '{}' } as const;
    proxy.mode('swallow');
    const lost = far.settle(settled);
    await expect.poll(() => proxy.swallowed()).toBeGreaterThan(0);
    proxy.mode('pass');
    proxy.cutAll();
    expect(await lost).toMatchObject({ kind: 'unavailable', maybeDone: true });
    await expect.poll(() => far.settle(settled)).toMatchObject({ kind: 'settled', repeated: true });
    expect(await org.state()).toMatchObject({ held: 0, pend: 4, spendable: 996 });
    await far.close();
    await proxy.stop();
  });

  test('a frozen server is answered for in time, by everybody who waits, and nothing counts twice when it wakes', async () => {
    const requestId = newRequestId();
    const [slow, behind] = [newRequestId(), newRequestId()];
    await org.hold(10, { requestId });
    server.pause();
    const started = performance.now();
    const first = org.hold(20, { requestId: slow });
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const answers = await Promise.all([first, org.hold(30, { requestId: behind }), org.settle(requestId, 5), org.hold(1)]);
    const tookMs = performance.now() - started;
    server.resume();
    for (const answer of answers) expect(answer).toMatchObject({ kind: 'unavailable' });
    expect(answers[0]).toMatchObject({ reason: 'timeout', maybeDone: true });
    expect(tookMs).toBeLessThan(1_500);
    await expect.poll(() => org.settle(requestId, 5), { timeout: 5_000 }).toMatchObject({ kind: 'settled' });
    for (const id of [slow, behind]) await org.settle(id, 0, { event: null });
    expect(await org.state()).toMatchObject({ held: 0, pend: 5, spendable: 995 });
  });

  test('an absent server is said at once, and found again by itself', async () => {
    const alone = await startRedis();
    const own = createRedisStore({ url: alone.url, commandTimeoutMs: TIMEOUT_MS });
    const subject = await createSubject(own);
    await alone.kill();
    await expect.poll(() => subject.hold(1)).toEqual({ kind: 'unavailable', reason: 'unreachable', maybeDone: false });
    await expect(own.shards()).rejects.toMatchObject({ message: expect.any(String) });
    await expect(own.entries(subject.shard, '', 1)).rejects.toMatchObject({ code: 'credits_unavailable' });
    await alone.restart();
    await expect.poll(() => subject.hold(1), { timeout: 5_000 }).toEqual(NOT_LOADED);
    await own.close();
    await alone.stop();
  });

  test('a server that has forgotten its scripts is told them again', async () => {
    const requestId = newRequestId();
    await command(server.port, 'SCRIPT', 'FLUSH');
    const answers = await Promise.all([org.hold(10, { requestId }), org.hold(20), org.hold(30)]);
    for (const answer of answers) expect(answer).toMatchObject({ kind: 'held', repeated: false });
    expect((await org.state()).held).toBe(60);
  });

  test('a server that became a replica is not written to, and is trusted again only after a reload', async () => {
    const alone = await startRedis();
    const own = createRedisStore({ url: alone.url, commandTimeoutMs: TIMEOUT_MS });
    const subject = await createSubject(own);
    await command(alone.port, 'REPLICAOF', '127.0.0.1', '1');
    expect(await subject.hold(1)).toEqual({ kind: 'unavailable', reason: 'unreachable', maybeDone: false });
    await command(alone.port, 'REPLICAOF', 'NO', 'ONE');
    expect(await stateOf(own, subject.shard)).toMatchObject({ state: 'absent' });
    expect(await subject.hold(1)).toEqual(NOT_LOADED);
    await own.close();
    await alone.stop();
  });
});

describe('the data', () => {
  test('a wiped server is found out by the very next call: neither 0 nor unlimited, but not loaded', async () => {
    const alone = await startRedis();
    const own = createRedisStore({ url: alone.url });
    const subject = await createSubject(own);
    const before = await stateOf(own, subject.shard);
    await command(alone.port, 'FLUSHALL');
    expect(await subject.hold(0)).toEqual(NOT_LOADED);
    expect(await own.lookup(subject.tokenId)).toEqual(NOT_LOADED);
    await openShard(own, subject.shard);
    expect((await stateOf(own, subject.shard)).epoch).not.toBe(before.epoch);
    await own.close();
    await alone.stop();
  });

  test('a server restarted from its own file is not trusted either, and a process that knew the old life adopts the new one', async () => {
    const alone = await startRedis({ appendonly: true, args: ['--appendfsync', 'always'] });
    const [first, second] = [createRedisStore({ url: alone.url }), createRedisStore({ url: alone.url })];
    const subject = await createSubject(first, { avail: 100 });
    await subject.hold(10);
    await second.lookup(subject.tokenId);
    await alone.restart();
    await expect.poll(() => subject.hold(0), { timeout: 5_000 }).toEqual(NOT_LOADED);
    await expect.poll(() => second.lookup(subject.tokenId), { timeout: 5_000 }).toEqual(NOT_LOADED);
    await openShard(first, subject.shard);
    expect(await second.lookup(subject.tokenId)).toMatchObject({ kind: 'found' });
    expect(await subject.state()).toMatchObject({ held: 10, spendable: 90 });
    await first.close();
    await second.close();
    await alone.stop();
  });

  test('two processes that see the same loss: one of them begins the reload', async () => {
    const alone = await startRedis();
    const stores = [0, 1, 2].map(() => createRedisStore({ url: alone.url }));
    const seen = await Promise.all(stores.map((one) => stateOf(one, '05')));
    const moved = await Promise.all(stores.map((one, i) => one.transition('05', seen[i] as never, 'filling')));
    expect(moved.filter(Boolean)).toHaveLength(1);
    for (const one of stores) await one.close();
    await alone.stop();
  });

  test('nonsense in a balance makes its organization unavailable, never free and never rich; the others do not notice', async () => {
    const other = await createSubject(store);
    // 32 bytes, four numbers, is what a balance has: text of that length is no balance either, nor a number beyond 2^53.
    for (const bad of ['abc', '1e3|1|0|0', 'nan', '1000|1|0|0', ' '.repeat(32), `${'\0'.repeat(30)}~~`, '']) {
      await command(server.port, 'HSET', key(`org:${org.orgId}`), 'balance', bad);
      expect(await org.hold(1), bad).toEqual(BROKEN);
      expect(await org.settle(newRequestId(), 1), bad).toEqual(BROKEN);
      expect(await other.hold(1)).toMatchObject({ kind: 'held' });
    }
    await org.applied({ balanceVersion: 2 });
    expect(await org.hold(1)).toMatchObject({ kind: 'held' });
    for (const bad of ['-5|0', 'abc', '1e3|0', '9007199254740993', `${'\0'.repeat(15)}~`, '1234567890123456', '']) {
      await command(server.port, 'HSET', key(`org:${org.orgId}`), 'sums', bad);
      expect(await org.hold(1), bad).toEqual(BROKEN);
    }
    await command(server.port, 'HDEL', key(`org:${org.orgId}`), 'sums');
    expect(await org.hold(1)).toEqual(BROKEN);
    // What Postgres says heals it: the sums are rebuilt from their parts.
    expect(await org.applied({ balanceVersion: 3 })).toMatchObject({ kind: 'applied' });
    expect(await org.hold(1)).toMatchObject({ kind: 'held' });
  });

  test('nonsense in a token or in one hold stays with that token or that hold', async () => {
    const requestId = newRequestId();
    await org.hold(10, { requestId });
    for (const bad of ['-5|0|x|y', 'H', `H${'x'.repeat(60)}`, 'C', `F${'9'.repeat(26)}`, '']) {
      await command(server.port, 'HSET', key(`requests:${org.orgId}`), requestId, bad);
      expect(await org.settle(requestId, 1), bad).toEqual(BROKEN);
      expect(await org.extend(requestId, 1), bad).toEqual(BROKEN);
      expect(await org.hold(1, { requestId }), bad).toEqual(BROKEN);
      expect(await org.hold(1)).toMatchObject({ kind: 'held' });
    }
    const limited = await createSubject(store, { token: { quotas: [{ window: 'daily', cap: 500 as never }], requestsPerMinute: 9_000 } });
    const name = key(`token:${limited.tokenId}`);
    for (const [field, bad] of [
      ['sums', '-1|0|0'],
      ['sums', '1'.repeat(24)],
      ['terms', 'abc'],
      ['terms', 'x'.repeat(207)],
      ['used', 'abc'],
      ['used', 'd'.repeat(17)],
      ['rate', 'abc'],
      ['rate', '7'.repeat(40)],
    ] as const) {
      await command(server.port, 'COPY', name, key('aside'), 'REPLACE');
      await command(server.port, 'HSET', name, field, bad);
      expect(await limited.hold(1), `${field} ${bad}`).toEqual(BROKEN);
      expect(await org.hold(1)).toMatchObject({ kind: 'held' });
      await command(server.port, 'RENAME', key('aside'), name);
      expect(await limited.hold(1), field).toMatchObject({ kind: 'held' });
    }
  });

  test('a deleted balance is not an empty one', async () => {
    await command(server.port, 'DEL', key(`org:${org.orgId}`));
    expect(await org.hold(0)).toEqual(BROKEN);
    expect(await org.settle(newRequestId(), 1)).toEqual(BROKEN);
  });

  test('a key of the wrong type leaves nothing half done, and fails only the commands that need it', async () => {
    const requestId = newRequestId();
    await org.hold(10, { requestId });
    const other = await createSubject(store, { shard: 8 });
    for (const name of ['deadlines', 'stream', `requests:${org.orgId}`]) {
      const dump = await snapshot(name);
      await command(server.port, 'RENAME', key(name), key('aside')).catch(() => undefined);
      await command(server.port, 'SET', key(name), 'x');
      // A hold has no use for the stream, so only the settlement notices that it is broken.
      const both = name === 'stream' ? [] : [org.hold(5)];
      const answers = await Promise.all([org.settle(requestId, 3), ...both, other.hold(1)]);
      const fine = answers.pop();
      expect(answers, name).toEqual(answers.map(() => BROKEN));
      expect(fine).toMatchObject({ kind: 'held' });
      await command(server.port, 'DEL', key(name));
      await command(server.port, 'RENAME', key('aside'), key(name)).catch(() => undefined);
      expect(await snapshot(name), name).toEqual(dump);
    }
    expect(await org.settle(requestId, 3)).toMatchObject({ kind: 'settled', remaining: 997 });

    async function snapshot(except: string): Promise<unknown> {
      const hashes = [`org:${org.orgId}`, `token:${org.tokenId}`, `requests:${org.orgId}`];
      const all = await Promise.all(hashes.filter((name) => name !== except).map((name) => command(server.port, 'HGETALL', key(name))));
      const deadlines = except === 'deadlines' ? '' : await command(server.port, 'ZRANGE', key('deadlines'), '0', '-1', 'WITHSCORES');
      return [...all, deadlines];
    }
  });

  test('a full server refuses new requests and lets running ones settle', async () => {
    const alone = await startRedis();
    const own = createRedisStore({ url: alone.url, commandTimeoutMs: TIMEOUT_MS });
    const subject = await createSubject(own);
    const requestId = newRequestId();
    await subject.hold(10, { requestId });
    await command(alone.port, 'CONFIG', 'SET', 'maxmemory', '1');
    expect(await subject.hold(1)).toEqual({ kind: 'unavailable', reason: 'full', maybeDone: false });
    expect(await subject.settle(requestId, 4)).toMatchObject({ kind: 'settled', repeated: false });
    expect(await subject.state()).toMatchObject({ held: 0, pend: 4, spendable: 996 });
    await own.close();
    await alone.stop();
  });
});
