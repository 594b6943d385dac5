import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { microCredits } from '../../src/domain/credits.js';
import { newOrgId, newRequestId, newTokenId, type RequestId, shardOf } from '../../src/domain/ids.js';
import { type Journal, openJournal } from '../../src/gateway/journal.js';
import { createOpenRequests } from '../../src/gateway/open.js';
import { createOutbox, type Outbox } from '../../src/gateway/outbox.js';
import { createRecovery, type Recovery } from '../../src/gateway/recovery.js';
import { createLog } from '../../src/telemetry/log.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { balanceOf, openShard, orgTerms, tokenTerms } from '../credits/builders.js';

const orgId = newOrgId(7);
const tokenId = newTokenId(orgId);
const shard = shardOf(orgId);

let folder: string;
let closing: Journal[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'farebox-recovery-'));
  closing = [];
});
afterEach(() => {
  for (const journal of closing) journal.close();
  rmSync(folder, { recursive: true, force: true });
});

async function openStore(): Promise<CreditStore> {
  const store = createEmbeddedStore();
  await openShard(store, shard);
  await store.project({ org: orgTerms(orgId) });
  await store.project({ token: tokenTerms(tokenId, orgId) });
  await store.applied({ orgId, balance: balanceOf(1_000_000_000), tokens: [], clear: [] });
  return store;
}

/** A store that can be lost, and that counts what it is asked. */
interface Losable {
  readonly store: CreditStore;
  readonly asked: RequestId[];
  settled: number;
  lose(): Promise<void>;
  pending(): Promise<readonly RequestId[]>;
  book(ids: readonly RequestId[]): Promise<void>;
}

async function losable(): Promise<Losable> {
  let real = await openStore();
  let version = 1;
  const one: Losable = {
    store: {
      ...real,
      settle: (command) => {
        one.settled += 1;
        return real.settle(command);
      },
      pending: (org, ids) => {
        one.asked.push(...ids);
        return real.pending(org, ids);
      },
      shards: () => real.shards(),
    },
    asked: [],
    settled: 0,
    lose: async () => {
      real = await openStore();
    },
    pending: async () => {
      const state = await real.inspect(orgId);
      if (!state || 'kind' in state) throw new Error('no state');
      return state.pending.map(({ requestId }) => requestId);
    },
    book: async (ids) => {
      version += 1;
      const clear = ids.map((requestId) => ({ requestId, kind: 'final' as const, cost: microCredits(1) }));
      await real.applied({ orgId, balance: balanceOf(1_000_000_000, { balanceVersion: version }), tokens: [], clear });
    },
  };
  return one;
}

interface Side {
  readonly journal: Journal;
  readonly outbox: Outbox;
  readonly recovery: Recovery;
}

function gatewayOn(store: CreditStore, segmentBytes = 64 * 1024): Side {
  const journal = openJournal({ folder, segmentBytes, onTrouble: () => undefined });
  closing.push(journal);
  const parts = { store, journal, metrics: createMetrics({ defaults: false }), log: createLog('silent'), open: createOpenRequests(0) };
  const outbox = createOutbox(parts);
  return { journal, outbox, recovery: createRecovery({ ...parts, outbox }) };
}

const named = (requestId: RequestId) => `{"request_id":"${requestId}","org_id":"${orgId}","token_id":"${tokenId}","kind":"final"}`;
const turn = (): Promise<void> => new Promise((go) => setImmediate(go));

function send({ outbox }: Pick<Side, 'outbox'>, count: number): RequestId[] {
  const ids = Array.from({ length: count }, () => newRequestId());
  for (const requestId of ids) outbox.send({ requestId, orgId, tokenId, kind: 'final', cost: microCredits(1), event: named(requestId) });
  return ids;
}

async function settle(side: Pick<Side, 'outbox' | 'journal'>, count: number): Promise<RequestId[]> {
  const { journal, outbox } = side;
  const ids = send(side, count);
  await new Promise<void>((go) => journal.afterWrite(go));
  while (outbox.size() > 0) await turn();
  return ids;
}

/** How many turns everybody else had while this went on. */
async function turnsBeside(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  await work;
  isOver = true;
  return turns;
}

const sorted = (ids: readonly RequestId[]): RequestId[] => [...ids].sort();

test('what a killed process left, however much, is read and said in many small turns, and all of it arrives', async () => {
  const ids = await settle(gatewayOn(await openStore(), 1024 * 1024), 20_000);
  const hot = await losable();
  const next = gatewayOn(hot.store);
  expect(next.journal.unconfirmed).toBe(0);
  const turns = await turnsBeside(next.recovery.replay());
  expect(next.recovery.busy).toBe(false);
  // A piece of 64 KB when it is read for the first and for the second time; a hundred of them when they are sent.
  expect(turns).toBeGreaterThan(200);
  while (next.outbox.size() > 0) await turn();
  expect(sorted(await hot.pending())).toEqual(sorted(ids));
  expect(next.journal.unconfirmed).toBe(20_000);
});

test('after a loss everything unconfirmed is said again in many turns, while lines are added, confirmed and files begun', async () => {
  const hot = await losable();
  const side = gatewayOn(hot.store, 8 * 1024);
  await side.recovery.tick();
  side.recovery.look(await hot.store.shards());
  const ids = await settle(side, 6_000);
  const booked = ids.slice(0, 1_000);
  await hot.book(booked);
  await hot.lose();
  const newest = readdirSync(folder).sort().at(-1);
  side.recovery.look(await hot.store.shards());
  expect(side.recovery.busy).toBe(true);
  const more: RequestId[] = [];
  while (side.recovery.busy) {
    more.push(...send(side, 5));
    const [first] = side.journal.next(1);
    // As if its confirmation had been on its way.
    if (first?.takenUnder !== undefined && booked.includes(first.requestId)) side.journal.confirmed(first);
    await turn();
  }
  while (side.outbox.size() > 0) await turn();
  const there = new Set(await hot.pending());
  for (const id of [...ids.slice(1_000), ...more]) expect(there.has(id)).toBe(true);
  expect(more.length).toBeGreaterThan(100);
  expect(readdirSync(folder).sort().at(-1)).not.toBe(newest);
});

test('two losses in a row, the second in the middle of saying everything again, lose nothing', async () => {
  const hot = await losable();
  const side = gatewayOn(hot.store);
  side.recovery.look(await hot.store.shards());
  const ids = await settle(side, 5_000);
  await hot.lose();
  hot.settled = 0;
  side.recovery.look(await hot.store.shards());
  while (hot.settled < 1_000) await turn();
  await hot.lose();
  expect(side.recovery.busy).toBe(true);
  side.recovery.look(await hot.store.shards());
  while (side.recovery.busy || side.outbox.size() > 0) await turn();
  await side.recovery.tick();
  expect(sorted(await hot.pending())).toEqual(sorted(ids));
  expect(side.journal.unconfirmed).toBe(5_000);
  await hot.book(ids);
  await side.recovery.tick();
  expect(side.journal.unconfirmed).toBe(0);
});

test('a loss that nobody looked at is found by asking, and what was asked about is said again', async () => {
  const hot = await losable();
  const side = gatewayOn(hot.store);
  side.recovery.look(await hot.store.shards());
  const ids = await settle(side, 50);
  await hot.lose();
  await side.recovery.tick();
  expect(side.journal.unconfirmed).toBe(50);
  await side.recovery.replay();
  while (side.outbox.size() > 0) await turn();
  expect(sorted(await hot.pending())).toEqual(sorted(ids));
});

test('while nothing is booked, each tick asks about a part; nothing waits for its turn for ever', async () => {
  const hot = await losable();
  const side = gatewayOn(hot.store);
  const ids = await settle(side, 9_000);
  await side.recovery.tick();
  expect(hot.asked.length).toBe(2_000);
  expect(hot.asked).toEqual(ids.slice(0, 2_000));
  for (let tick = 1; tick < 5; tick++) await side.recovery.tick();
  expect(new Set(hot.asked).size).toBe(9_000);
});

test('as soon as it is booked, a tick confirms ten times as much', async () => {
  const hot = await losable();
  const side = gatewayOn(hot.store);
  const ids = await settle(side, 22_000);
  await hot.book(ids);
  await side.recovery.tick();
  expect(side.journal.unconfirmed).toBe(2_000);
  await side.recovery.tick();
  expect(side.journal.unconfirmed).toBe(0);
});

test('settlements that are never booked do not keep others from being confirmed', async () => {
  const hot = await losable();
  const side = gatewayOn(hot.store);
  const stuck = await settle(side, 3_000);
  const ids = await settle(side, 3_000);
  await hot.book(ids);
  for (let tick = 0; tick < 4; tick++) await side.recovery.tick();
  expect(
    side.journal
      .next(10_000)
      .map(({ requestId }) => requestId)
      .sort(),
  ).toEqual(sorted(stuck));
});
