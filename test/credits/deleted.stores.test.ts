import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { newRequestId } from '../../src/domain/ids.js';
import { command, type RedisServer, startRedis } from '../support/redis.js';
import { balanceOf, createSubject, micro, moveTo, orgTerms, type Subject, tokenTerms } from './builders.js';

/** Somebody deleted a key by hand, and older messages about it are still on their way. */
const BROKEN = { kind: 'unavailable', reason: 'broken', maybeDone: false };

let server: RedisServer;
let store: CreditStore;
let org: Subject;

beforeAll(async () => {
  server = await startRedis();
  store = createRedisStore({ url: server.url, commandTimeoutMs: 1_000 });
});

beforeEach(async () => {
  org = await createSubject(store, { avail: 1_000 });
  await store.project({ org: orgTerms(org.orgId, { version: 2 }) });
  await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 2, quotas: [{ window: 'total', cap: micro(500) }] }) });
  await org.applied({ avail: micro(300), balanceVersion: 5 }, { tokens: [use(400)] });
});

afterAll(async () => {
  await store.close();
  await server.stop();
});

const key = (name: string): string => `{${org.shard}}:${name}`;
const now = { orgVersion: 2, tokenVersion: 2 };
const use = (amount: number) => ({ tokenId: org.tokenId, used: [{ window: 'total' as const, amount: micro(amount), endsAtMs: 0 }] });

describe('a deleted organization', () => {
  test('believes neither terms nor a balance that are older than what it was told before', async () => {
    await command(server.port, 'DEL', key(`org:${org.orgId}`));
    expect(await store.project({ org: orgTerms(org.orgId, { version: 1 }) })).toEqual({ kind: 'older' });
    await org.applied({ avail: micro(1_000), balanceVersion: 4 });
    expect(await org.hold(1, now)).toEqual(BROKEN);
    // What is said once more is said by whoever looked at Postgres again.
    expect(await store.project({ org: orgTerms(org.orgId, { version: 2 }) })).toEqual({ kind: 'projected' });
    expect(await org.hold(1, now)).toEqual(BROKEN);
    await org.applied({ avail: micro(300), balanceVersion: 5 });
    expect(await org.state()).toMatchObject({ spendable: 300, termsVersion: 2 });
    expect(await org.hold(1, now)).toMatchObject({ kind: 'held' });
  });

  test('keeps what runs and what is pending', async () => {
    const [running, ended] = [newRequestId(), newRequestId()];
    await org.hold(20, { ...now, requestId: running });
    await org.hold(30, { ...now, requestId: ended });
    await org.settle(ended, 25);
    await command(server.port, 'DEL', key(`org:${org.orgId}`));
    // An older message may still say what is in Postgres by now.
    await org.applied({ balanceVersion: 4 }, { clear: [{ requestId: ended, kind: 'final', cost: micro(25) }] });
    await store.project({ org: orgTerms(org.orgId, { version: 2 }) });
    await org.applied({ avail: micro(300), balanceVersion: 5 });
    expect(await org.state()).toMatchObject({ held: 20, pend: 0, spendable: 280 });
  });

  test('is not filled from an older reading either, but from a later one', async () => {
    await moveTo(store, org.shard, 'filling');
    const snapshot = (version: number, avail: number) => ({
      terms: orgTerms(org.orgId, { version }),
      balance: balanceOf(avail, { balanceVersion: version }),
      tokens: [{ terms: tokenTerms(org.tokenId, org.orgId, { version }), use: use(0) }],
    });
    await store.load(org.shard, [snapshot(9, 90)]);
    await command(server.port, 'DEL', key(`org:${org.orgId}`), key(`token:${org.tokenId}`));
    await store.load(org.shard, [snapshot(8, 80)]);
    await moveTo(store, org.shard, 'open');
    expect(await org.hold(1, { orgVersion: 8, tokenVersion: 8 })).toMatchObject({ kind: 'unknown_token' });
    await moveTo(store, org.shard, 'filling');
    await store.load(org.shard, [snapshot(9, 90)]);
    await moveTo(store, org.shard, 'open');
    expect(await org.state()).toMatchObject({ spendable: 90, termsVersion: 9 });
  });
});

describe('a deleted token', () => {
  test('is not brought back by terms from before it was revoked', async () => {
    await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 3, status: 'revoked' }) });
    await command(server.port, 'DEL', key(`token:${org.tokenId}`));
    expect(await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 2 }) })).toEqual({ kind: 'older' });
    expect(await org.hold(1, now)).toMatchObject({ kind: 'unknown_token' });
    expect(await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 3, status: 'revoked' }) })).toEqual({
      kind: 'projected',
    });
    expect(await org.hold(1, now)).toMatchObject({ kind: 'token_revoked' });
  });

  test('does not forget what it used for an older message', async () => {
    await command(server.port, 'DEL', key(`token:${org.tokenId}`));
    await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 2, quotas: [{ window: 'total', cap: micro(500) }] }) });
    await org.applied({ balanceVersion: 5 }, { tokens: [use(400)] });
    await org.applied({ balanceVersion: 4 }, { tokens: [use(10)] });
    expect(await org.hold(101, now)).toMatchObject({ kind: 'short', scope: 'quota', available: 100 });
  });
});

test('names that are deleted between two that are said open nobody: whoever was named before would be open with an older balance', async () => {
  const [before, after] = [await createSubject(store, { shard: 52, avail: 900 }), await createSubject(store, { shard: 52, avail: 900 })];
  const { shard } = before;
  await moveTo(store, shard, 'filling');
  expect(await store.expect(shard, [{ orgId: before.orgId, tokenIds: [before.tokenId] }])).toBe(true);
  await command(server.port, 'DEL', `{${shard}}:expected`);
  expect(await store.expect(shard, [{ orgId: after.orgId, tokenIds: [after.tokenId] }])).toBe(false);
  await moveTo(store, shard, 'serving');
  for (const one of [before, after]) expect(await one.hold(1)).toMatchObject({ kind: 'unavailable', reason: 'not_loaded' });
  const snapshot = (one: Subject) => ({
    ...{ terms: orgTerms(one.orgId), balance: balanceOf(100, { balanceVersion: 3 }) },
    tokens: [{ terms: tokenTerms(one.tokenId, one.orgId), use: { tokenId: one.tokenId, used: [] } }],
  });
  await store.load(shard, [snapshot(before), snapshot(after)]);
  await moveTo(store, shard, 'open');
  for (const one of [before, after]) expect(await one.hold(1)).toMatchObject({ kind: 'held', remaining: 99 });

  // In the next life names are taken again.
  await moveTo(store, shard, 'filling');
  expect(await store.expect(shard, [{ orgId: after.orgId, tokenIds: [after.tokenId] }])).toBe(true);
  await moveTo(store, shard, 'open');
});

test('what the shard was told may itself be deleted or nonsense: everything goes on by what is kept of each', async () => {
  for (const nonsense of [['DEL'], ['SET', 'x'], ['HSET', org.orgId, '-5']]) {
    const [verb = '', ...rest] = nonsense;
    if (verb === 'SET') await command(server.port, 'DEL', key('told'));
    await command(server.port, verb, key('told'), ...rest);
    expect(await org.hold(1, now), verb).toMatchObject({ kind: 'held' });
    expect(await store.project({ org: orgTerms(org.orgId, { version: 1 }) }), verb).toEqual({ kind: 'older' });
    expect(await org.applied({ avail: micro(1_000), balanceVersion: 4 }), verb).toMatchObject({ kind: 'applied' });
    expect(await org.state(), verb).toMatchObject({ balance: { avail: 300, balanceVersion: 5 }, termsVersion: 2 });
  }
});
