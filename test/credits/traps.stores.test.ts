import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { batchScript } from '../../src/credits/redis/scripts.js';
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
    const good = '1000|1|0|0';
    for (const bad of ['abc', '1e3|1|0|0', 'nan|1|0|0', '1000.5|1|0|0', '99999999999999999999|1|0|0', '1000|1|0', '']) {
      await command(server.port, 'HSET', key(`org:${org.orgId}`), 'balance', bad);
      expect(await org.hold(1), bad).toEqual(BROKEN);
      expect(await org.settle(newRequestId(), 1), bad).toEqual(BROKEN);
      expect(await other.hold(1)).toMatchObject({ kind: 'held' });
    }
    await command(server.port, 'HSET', key(`org:${org.orgId}`), 'balance', good);
    for (const bad of ['-5|0', '0|-5', 'abc', '1e3|0', 'nan|nan', '0|', '9007199254740993|0']) {
      await command(server.port, 'HSET', key(`org:${org.orgId}`), 'sums', bad);
      expect(await org.hold(1), bad).toEqual(BROKEN);
    }
    await command(server.port, 'HDEL', key(`org:${org.orgId}`), 'sums');
    expect(await org.hold(1)).toEqual(BROKEN);
    // What Postgres says heals it: the sums are rebuilt from their parts.
    expect(await org.applied({ balanceVersion: 2 })).toMatchObject({ kind: 'applied' });
    expect(await org.hold(1)).toMatchObject({ kind: 'held' });
  });

  test('nonsense in a token or in one hold stays with that token or that hold', async () => {
    const requestId = newRequestId();
    await org.hold(10, { requestId });
    await command(server.port, 'HSET', key(`holds:${org.orgId}`), requestId, '-5|0|x|y');
    expect(await org.settle(requestId, 1)).toEqual(BROKEN);
    expect(await org.extend(requestId, 1)).toEqual(BROKEN);
    expect(await org.hold(1)).toMatchObject({ kind: 'held' });
    for (const [field, bad] of [
      ['sums', '-1|0|0'],
      ['terms', 'abc'],
      ['caps', '0;total:-5;'],
      ['caps', 'abc'],
    ] as const) {
      const before = await command(server.port, 'HGET', key(`token:${org.tokenId}`), field);
      await command(server.port, 'HSET', key(`token:${org.tokenId}`), field, bad);
      expect(await org.hold(1), field).toEqual(BROKEN);
      await command(server.port, 'HSET', key(`token:${org.tokenId}`), field, before.split('\r\n')[1] ?? '');
      expect(await org.hold(1), field).toMatchObject({ kind: 'held' });
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
    for (const name of ['deadlines', 'stream', `pend:${org.orgId}`]) {
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
      const hashes = [`org:${org.orgId}`, `token:${org.tokenId}`, `holds:${org.orgId}`, `pend:${org.orgId}`];
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

describe('the script itself, whoever calls it', () => {
  let raw: Redis;
  beforeAll(() => {
    raw = new Redis(server.url);
  });
  afterAll(() => raw.disconnect());

  const hold = async (amount: string, requestId: string = newRequestId()): Promise<unknown> => {
    const { epoch } = await stateOf(store, org.shard);
    const own = [`org:${org.orgId}`, `token:${org.tokenId}`, `holds:${org.orgId}`, `pend:${org.orgId}`, `rate:${org.tokenId}`];
    const keys = ['epoch', 'deadlines', 'stream', ...own].map(key);
    const texts = [requestId, org.orgId, org.tokenId, DIGEST, 'note'];
    const answers = await raw.eval(batchScript().source, keys.length, ...keys, '1', epoch, `hold|0|5|5|1|1|${amount}|1|20000`, ...texts);
    return (answers as unknown[])[0];
  };

  test('only digits are an amount', async () => {
    const hostile = ['nan', '-nan', 'NaN', 'inf', '-inf', '-5', ' 5 ', '5 ', '0x10', '1e3', '1.5', '-0', '+5', '', '5\n', '٥'];
    for (const amount of [...hostile, '9007199254740992', '1000000000000000']) {
      expect(await hold(amount), JSON.stringify(amount)).toMatchObject(['error', expect.stringMatching(/BROKEN|field/)]);
    }
    expect((await org.state()).held).toBe(0);
    expect(await hold('5')).toEqual(['held', '5', '995']);
    expect(await hold('999999999999999')).toEqual(['short', 'balance', '999999999999999', '995', '5', '0']);
  });

  test('an id cannot name another key or another field', async () => {
    for (const id of [
      '',
      'x',
      'req_*',
      'req_a:b',
      'req_{08}',
      `${newRequestId()}.note`,
      'req_a\nb',
      `req_${'|'.repeat(32)}`,
      `req_${':'.repeat(32)}`,
    ]) {
      expect(await hold('5', id), JSON.stringify(id)).toMatchObject(['error', expect.stringMatching(/BROKEN/)]);
    }
    expect((await org.state()).held).toBe(0);
  });

  test('another epoch is another life: nothing is read and nothing is written', async () => {
    const keys = ['epoch', 'deadlines', 'stream', `org:${org.orgId}`].map(key);
    for (const epoch of ['', '1', ':open', 'x'.repeat(100)]) {
      expect(await raw.eval(batchScript().source, 4, ...keys, '1', epoch, 'lookup|0|1|0|')).toEqual([['epoch']]);
    }
  });

  test('numbers leave whole and as text, however large', async () => {
    await org.applied({ avail: 9_007_199_254_740_991 as never, balanceVersion: 2 });
    expect(await hold('999999999999999')).toEqual(['held', '999999999999999', '8007199254740992']);
    const sums = await raw.hget(key(`org:${org.orgId}`), 'sums');
    expect(sums).toBe('999999999999999|0');
  });
});

describe('the start-up check', () => {
  test('a server that may throw balances away is refused, with what to set', async () => {
    const lossy = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    const own = createRedisStore({ url: lossy.url });
    expect(await own.check()).toEqual({ ok: false, sentence: expect.stringMatching(/allkeys-lru.*Set maxmemory-policy to noeviction/) });
    await command(lossy.port, 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect(await own.check()).toEqual({ ok: true });
    await own.close();
    await lossy.stop();
  });

  test('where CONFIG is forbidden the policy is read elsewhere', async () => {
    const strict = await startRedis({ args: ['--rename-command', 'CONFIG', '', '--maxmemory-policy', 'volatile-ttl'] });
    const own = createRedisStore({ url: strict.url });
    expect(await own.check()).toMatchObject({ ok: false, sentence: expect.stringContaining('volatile-ttl') });
    await own.close();
    await strict.stop();
  });

  test('nobody there, a password, a replica and a cluster by the wrong name are each told apart', async () => {
    const alone = await startRedis();
    const sentence = async (url: string): Promise<string> => {
      const own = createRedisStore({ url, commandTimeoutMs: 500 });
      const answer = await own.check();
      await own.close();
      return answer.ok ? 'ok' : answer.sentence;
    };
    expect(await sentence(alone.url)).toBe('ok');
    expect(await sentence(`redis-cluster://127.0.0.1:${alone.port}`)).toMatch(/cluster mode is on/);
    await command(alone.port, 'REPLICAOF', '127.0.0.1', '1');
    expect(await sentence(alone.url)).toMatch(/is a replica/);
    await command(alone.port, 'REPLICAOF', 'NO', 'ONE');
    await command(alone.port, 'CONFIG', 'SET', 'requirepass', 'secret');
    expect(await sentence(alone.url)).toMatch(/does not answer/);
    expect(await sentence(`redis://:secret@127.0.0.1:${alone.port}`)).toBe('ok');
    await alone.stop();
    expect(await sentence(alone.url)).toMatch(/does not answer/);
    const node = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    expect(await sentence(node.url)).toMatch(/redis-cluster:\/\//);
    await node.stop();
  });
});
