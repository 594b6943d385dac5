import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { eventOf, firstTerms, firstTokenTerms, micro, orgCalled, requestCalled, tokenCalled } from '../../proof/simulate/cast.js';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore, SettleCommand } from '../../src/credits/store.js';
import { shardOf } from '../../src/domain/ids.js';
import { openJournal } from '../../src/gateway/journal.js';
import { createOpenRequests } from '../../src/gateway/open.js';
import { createOutbox } from '../../src/gateway/outbox.js';
import { createRecovery } from '../../src/gateway/recovery.js';
import { createLog } from '../../src/telemetry/log.js';
import { createMetrics } from '../../src/telemetry/metrics.js';

// What the simulator's gateways do by the book, done by the gateway's own code.
const orgId = orgCalled('o0');
const tokenId = tokenCalled('t0');
const requestId = requestCalled('r1');
const shard = shardOf(orgId);
const cost = micro(40);
const command: SettleCommand = {
  requestId,
  orgId,
  tokenId,
  kind: 'final',
  cost,
  event: eventOf({ requestId, orgId, tokenId }, 'final', 40),
};

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

async function openStore(): Promise<CreditStore> {
  const store = createEmbeddedStore();
  const state = async () => (await store.shards()).filter((one) => one.shard === shard);
  for (const from of await state()) await store.transition(shard, from, 'filling');
  const balance = { avail: micro(1_000), balanceVersion: 1, monthSpent: micro(0), monthEndsAtMs: 0 };
  const token = { terms: firstTokenTerms(tokenId), use: { tokenId: tokenId, used: [] } };
  await store.load(shard, [{ terms: firstTerms(orgId), balance, tokens: [token] }]);
  for (const from of await state()) await store.transition(shard, from, 'open');
  return store;
}

/** A gateway's journal, outbox and recovery on a store that can be swapped for another. */
function gatewayOn(store: CreditStore) {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-recovery-'));
  folders.push(folder);
  const journal = openJournal({ folder, onTrouble: () => undefined });
  const parts = { store, journal, metrics: createMetrics({ defaults: false }), log: createLog('silent'), open: createOpenRequests(0) };
  const outbox = createOutbox(parts);
  return { journal, outbox, recovery: createRecovery({ ...parts, outbox }) };
}

const unconfirmed = (gateway: ReturnType<typeof gatewayOn>) => gateway.journal.next(10).map((entry) => entry.requestId);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a settlement that arrives between the question and its answer is not taken for booked', async () => {
  const store = await openStore();
  let answerNow = (): void => undefined;
  const pending: CreditStore['pending'] = async (...asked) => {
    const answer = await store.pending(...asked);
    await new Promise<void>((resolve) => {
      answerNow = resolve;
    });
    return answer;
  };
  const settleNow: (() => void)[] = [];
  const settle: CreditStore['settle'] = async (one) => {
    await new Promise<void>((resolve) => settleNow.push(resolve));
    return store.settle(one);
  };
  const gateway = gatewayOn({ ...store, pending, settle });
  gateway.outbox.send(command);
  const ticking = gateway.recovery.tick();
  await turn();
  for (const go of settleNow) go();
  await turn();
  expect(gateway.journal.next(10).map(({ takenUnder }) => takenUnder)).toEqual([expect.any(String)]);
  answerNow();
  await ticking;
  expect(unconfirmed(gateway)).toEqual([requestId]);
  gateway.journal.close();
});

test('what a store took just before it was lost is said again, even by a gateway that never saw that store', async () => {
  let store = await openStore();
  const verbs = {
    settle: (one: SettleCommand) => store.settle(one),
    pending: (...asked: Parameters<CreditStore['pending']>) => store.pending(...asked),
  };
  const gateway = gatewayOn({ ...store, ...verbs });
  gateway.outbox.send(command);
  await turn();
  store = await openStore();
  gateway.recovery.look(await store.shards());
  await gateway.recovery.tick();
  await gateway.recovery.replay();
  await turn();
  expect(await store.pending(orgId, [requestId])).toMatchObject({ ids: [requestId] });
  expect(unconfirmed(gateway)).toEqual([requestId]);
  await store.applied({
    orgId: orgId,
    balance: { avail: micro(960), balanceVersion: 2, monthSpent: cost, monthEndsAtMs: 0 },
    tokens: [],
    clear: [{ requestId, kind: 'final', cost }],
  });
  await gateway.recovery.tick();
  expect(unconfirmed(gateway)).toEqual([]);
  gateway.journal.close();
});
