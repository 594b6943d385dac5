import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { newOrgId, newRequestId, newTokenId, type RequestId, shardOf } from '../../src/domain/ids.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { balanceOf, DAY_MS, micro, moveTo, orgTerms, subject, tokenTerms } from './builders.js';

let server: RedisServer;
let redis: CreditStore;
const embedded = createEmbeddedStore();

beforeAll(async () => {
  server = await startRedis();
  redis = createRedisStore({ url: server.url, commandTimeoutMs: 5_000 });
});

afterAll(async () => {
  await redis.close();
  await server.stop();
});

const VERBS = [
  ...Array<'hold'>(8).fill('hold'),
  ...Array<'open'>(3).fill('open'),
  ...Array<'extend'>(3).fill('extend'),
  'extend',
  'floor',
  'final',
  'release',
  'sweep',
  'rehold',
  'applied',
  'org',
  'token',
  'refill',
  'open',
  'expect',
  'serve',
  'serve',
  'load',
  'wanted',
  'lookup',
  'pending',
  'inspect',
] as const;

const step = fc.record({
  verb: fc.constantFrom(...VERBS),
  who: fc.integer({ min: 0, max: 4 }),
  token: fc.constantFrom(0, 0, 0, 1, 2),
  amount: fc.oneof(fc.integer({ min: 0, max: 120 }), fc.constantFrom(0, 999_999_999_999_999)),
  version: fc.integer({ min: 1, max: 4 }),
  flag: fc.boolean(),
  /** Which tokens share the quota of a member with this one, as bits. */
  member: fc.option(fc.record({ cap: fc.integer({ min: 0, max: 200 }), sharers: fc.integer({ min: 0, max: 7 }) })),
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface World {
  readonly orgId: ReturnType<typeof newOrgId>;
  readonly tokens: readonly ReturnType<typeof newTokenId>[];
  readonly requests: readonly RequestId[];
  readonly soonMs: number;
}

test('the same random commands get the same answers from both stores', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 63 }),
      fc.array(step, { minLength: 20, maxLength: 80, size: 'max' }),
      async (shard, steps) => {
        const world = await openWorld(shard);
        for (const [i, one] of steps.entries()) {
          const [mine, theirs] = [await answerOf(embedded, world, one), await answerOf(redis, world, one)];
          expect(mine, `step ${i}: ${JSON.stringify(one)}`).toEqual(theirs);
        }
      },
    ),
    { numRuns: 120 },
  );
});

const AT_ONCE = new Set(['hold', 'extend', 'floor', 'final', 'release', 'rehold']);

test('what is asked at once, and travels together, is answered as if one had come after the other', async () => {
  const bursts = fc.array(fc.array(step, { minLength: 1, maxLength: 24, size: 'max' }), { minLength: 3, maxLength: 6, size: 'max' });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 63 }), bursts, async (shard, all) => {
      const world = await openWorld(shard);
      for (const burst of all) {
        const together = burst.filter(({ verb }) => AT_ONCE.has(verb));
        const rest = burst.filter(({ verb }) => !AT_ONCE.has(verb));
        for (const tokenId of world.tokens) await meetSharers(world, tokenId);
        const [mine, theirs] = await Promise.all(
          [embedded, redis].map((store) => Promise.all(together.map((one) => answerOf(store, world, one, true)))),
        );
        expect(mine).toEqual(theirs);
        for (const one of rest)
          expect(await answerOf(embedded, world, one), JSON.stringify(one)).toEqual(await answerOf(redis, world, one));
        const inspect = { ...(burst[0] as Step), verb: 'inspect' as const };
        expect(await answerOf(embedded, world, inspect)).toEqual(await answerOf(redis, world, inspect));
      }
    }),
    { numRuns: 20 },
  );
});

async function openWorld(shard: number): Promise<World> {
  const orgId = newOrgId(shard);
  const world: World = {
    orgId,
    tokens: [newTokenId(orgId), newTokenId(orgId), newTokenId(orgId)],
    requests: [0, 1, 2, 3, 4].map(() => newRequestId()),
    soonMs: Date.now() + DAY_MS,
  };
  for (const store of [embedded, redis]) {
    await moveTo(store, shardOf(orgId), 'filling');
    await moveTo(store, shardOf(orgId), 'open');
    await store.project({ org: orgTerms(orgId) });
    await store.project({ token: tokenTerms(world.tokens[0] as never, orgId) });
    await store.applied({ orgId, balance: balanceOf(200), tokens: [], clear: [] });
  }
  return world;
}

/**
 * A command that meets the quota of a member whose other tokens it did not bring has done nothing yet, and comes again with
 * them behind what was sent after it. So that the order is that of sending, they are learnt before: by a release of nothing.
 */
async function meetSharers({ orgId }: World, tokenId: World['tokens'][number]): Promise<void> {
  for (const store of [embedded, redis]) await subject(store, orgId, tokenId).settle(newRequestId(), 0, { event: null });
}

/** An answer without what must differ: clocks, cursors and names of lives. */
async function answerOf(store: CreditStore, world: World, one: Step, atOnce = false): Promise<unknown> {
  const answer = await act(store, world, one, atOnce).catch((error: { code?: string }) => ({ threw: error.code ?? String(error) }));
  return JSON.parse(
    JSON.stringify(answer ?? null, (key, value) => (['epoch', 'retryAfterMs', 'deadlineMs', 'cursor'].includes(key) ? undefined : value)),
  );
}

async function act(store: CreditStore, world: World, one: Step, atOnce: boolean): Promise<unknown> {
  const { orgId } = world;
  const tokenId = world.tokens[one.token] ?? newTokenId(orgId);
  const requestId = world.requests[one.who] ?? newRequestId();
  const shard = shardOf(orgId);
  const org = subject(store, orgId, tokenId);
  // Two stores, two clocks: on a slow machine a lease would end in one of them first.
  const lease = { leaseMs: DAY_MS };
  // Whatever is waited for before a command is sent would let others overtake it.
  const state = atOnce ? undefined : (await store.shards()).find((other) => other.shard === shard);
  const quotas = one.flag ? [{ window: 'daily' as const, cap: micro(Math.min(one.amount, 90)) }] : [];
  const used = (['daily', 'monthly'] as const).map((window) => ({
    window,
    amount: micro(one.who * (window === 'daily' ? 1 : 5)),
    endsAtMs: one.flag ? world.soonMs : 1,
  }));
  const sharers = world.tokens.filter((id, at) => id === tokenId || ((one.member?.sharers ?? 0) >> at) % 2 === 1);
  const token = tokenTerms(tokenId, orgId, {
    version: one.version,
    quotas,
    member: one.member && { id: 'usr_one', cap: micro(one.member.cap), tokens: sharers },
    critical: one.flag,
    concurrency: one.who > 1 ? one.who : 0,
    requestsPerMinute: one.flag ? 0 : 4,
    tokensPerMinute: one.who > 2 ? 90 : 0,
  });
  const terms = orgTerms(orgId, {
    version: one.version,
    overdraft: micro(one.who),
    limit: one.flag ? micro(one.amount) : null,
    limitAction: one.who > 2 ? 'pause_noncritical' : 'block_all',
  });
  const balance = balanceOf(one.amount * 2 - 20, {
    balanceVersion: one.version,
    monthSpent: micro(one.who),
    monthEndsAtMs: one.flag ? world.soonMs : 1,
  });
  switch (one.verb) {
    case 'hold': {
      const known = atOnce ? undefined : await store.lookup(tokenId);
      const versions = known?.kind === 'found' && one.version < 4 ? [known.token.version, known.org.version] : [one.version, 1];
      const [tokenVersion = 1, orgVersion = 1] = versions;
      return org.hold(one.amount, { requestId, tokenVersion, orgVersion, tokens: one.amount % 50, ...lease });
    }
    case 'extend':
      return org.extend(requestId, one.amount, { floor: micro(one.who), note: `{"at":${one.amount}}`, ...lease });
    case 'floor':
    case 'final':
      return org.settle(requestId, one.amount, { kind: one.verb });
    case 'release':
      return org.settle(requestId, 0, { event: null });
    case 'sweep':
      return [await org.settle(requestId, 0, { kind: 'floor', ifDue: true }), await store.due(shard, 10)];
    case 'rehold':
      return org.rehold(requestId, one.amount, { floor: micro(one.who), note: `{"at":${one.amount}}`, ...lease });
    case 'applied':
      return store.applied({
        orgId,
        balance,
        tokens: one.flag ? [{ tokenId, used }] : [],
        clear: [{ requestId, kind: one.flag ? 'final' : 'floor', cost: micro(one.amount) }],
      });
    case 'org':
      return store.project({ org: terms });
    case 'token':
      return store.project({ token });
    case 'refill':
      return one.flag && state ? store.transition(shard, state, 'filling') : null;
    case 'open':
      return state ? store.transition(shard, state, 'open') : null;
    case 'serve':
      return state ? store.transition(shard, state, 'serving') : null;
    case 'expect':
      return store.expect(shard, [{ orgId, tokenIds: one.flag ? world.tokens : [tokenId] }]);
    case 'wanted':
      return store.wanted(shard, 10);
    case 'load':
      return store.load(shard, [{ terms, balance, tokens: one.flag ? [{ terms: token, use: { tokenId, used } }] : [] }]);
    case 'lookup':
      return store.lookup(tokenId);
    case 'pending':
      return store.pending(orgId, world.requests);
    case 'inspect':
      return sorted(await store.inspect(orgId));
  }
}

function sorted(state: Awaited<ReturnType<CreditStore['inspect']>>): unknown {
  if (!state || 'kind' in state) return state;
  const byId = (a: { requestId: string }, b: { requestId: string }): number => (a.requestId < b.requestId ? -1 : 1);
  return { ...state, holds: [...state.holds].sort(byId), pending: [...state.pending].sort(byId) };
}
