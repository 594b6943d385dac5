import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId } from '../../src/domain/ids.js';
import { createDrain } from '../../src/ledger/drain.js';
import { createHeal } from '../../src/ledger/heal.js';
import { projectOrg, projectToken, repairProjections } from '../../src/ledger/project.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { createSweep } from '../../src/ledger/sweep.js';
import { type Books, type Customer, charge, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(() => books.close());

const owner = 'test';

async function openStore(clock?: { nowMs(): number }): Promise<CreditStore> {
  const store = createEmbeddedStore(clock ? { clock } : {});
  await createHeal({ db: books.db, store, owner, reholdMs: 0 }).step();
  return store;
}

const settle = (store: CreditStore, event: ChargeEvent, text = JSON.stringify(event)) =>
  store.settle({
    requestId: event.request_id,
    orgId: event.org_id,
    tokenId: event.token_id,
    kind: event.kind,
    cost: microCredits(event.cost),
    event: text,
  });

const spendable = async (store: CreditStore, customer: Customer) => {
  const state = await store.inspect(customer.orgId);
  if (!state || 'kind' in state) throw new Error('the store does not know this organization');
  return state;
};

test('an empty store is filled from the ledger, and what is settled there is booked here', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  const store = await openStore();
  expect(await spendable(store, customer)).toMatchObject({ spendable: 1_000, balance: { avail: 1_000 } });
  for (let i = 0; i < 5; i++) await settle(store, charge(customer, 10));
  expect(await spendable(store, customer)).toMatchObject({ spendable: 950, pend: 50, balance: { avail: 1_000 } });
  const drain = createDrain({ db: books.db, store, owner });
  expect(await drain.step()).toEqual({ kind: 'drained', charges: 5 });
  expect(await spendable(store, customer)).toMatchObject({ spendable: 950, pend: 0, balance: { avail: 950, monthSpent: 50 } });
  expect(await drain.step()).toEqual({ kind: 'idle' });
  expect((await reconcile({ db: books.db, store })).findings).toEqual([]);
});

test('G26: rows that cannot be booked are set aside, each alone, while the rest flows', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  const store = await openStore();
  const poison: string[] = [];
  const [broken, negative, stranger] = [charge(customer, 1), charge(customer, 1), charge(customer, 1)];
  await settle(store, charge(customer, 5));
  await settle(store, broken, '{"request_id":');
  await settle(store, charge(customer, 6, { end_user: 'half \ud800 and \0 nothing' }));
  await settle(store, negative, JSON.stringify({ ...negative, latency_ms: 'soon' }));
  await settle(store, stranger, JSON.stringify({ ...stranger, token_id: `tok_${customer.orgId.slice(4, 6)}aaaaaaaaaaaa` }));
  await settle(store, charge(customer, 7));
  const drain = createDrain({ db: books.db, store, owner, onPoison: (row) => poison.push(row.requestId) });
  expect(await drain.step()).toMatchObject({ kind: 'drained', charges: 6 });
  expect(new Set(poison)).toEqual(new Set([broken.request_id, negative.request_id, stranger.request_id]));
  expect(await spendable(store, customer)).toMatchObject({ balance: { avail: 982 }, pend: 3 });
  expect(await books.db.query('select end_user from usage_records where end_user is not null')).toEqual([
    { end_user: 'half \ufffd and \ufffd nothing' },
  ]);
  await books.db.query('update poison_rows set resolved_at = now()');
});

test('only one of two drains works, and the other takes over when it stops', async () => {
  const store = await openStore();
  const first = createDrain({ db: books.db, store, owner });
  const second = createDrain({ db: books.db, store, owner: 'other' });
  await first.step();
  expect(await second.step()).toEqual({ kind: 'standby' });
  const stop = new AbortController();
  stop.abort();
  await first.run(stop.signal);
  expect(await second.step()).not.toEqual({ kind: 'standby' });
  await books.db.query("update leases set until = now() where name = 'drain'");
});

test('G23: a request whose owner vanished is charged its floor, and a late final replaces it', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  let nowMs = Date.now();
  const store = await openStore({ nowMs: () => nowMs });
  const requestId = newRequestId();
  const note = JSON.stringify(charge(customer, 40, { request_id: requestId, kind: 'floor', status: 'orphaned' }));
  const hold = { requestId, orgId: customer.orgId, tokenId: customer.tokenId, amount: microCredits(100), leaseMs: 20_000, note };
  expect(await store.rehold({ ...hold, floor: microCredits(40) })).toEqual({ kind: 'held' });
  const sweep = createSweep({ store });
  expect(await sweep.step()).toMatchObject({ swept: 0 });
  nowMs += 21_000;
  expect(await sweep.step()).toEqual({ swept: 1, away: false });
  expect(await sweep.step()).toEqual({ swept: 0, away: false });
  const drain = createDrain({ db: books.db, store, owner });
  await drain.step();
  expect(await spendable(store, customer)).toMatchObject({ spendable: 960, held: 0, pend: 0 });
  await settle(store, charge(customer, 70, { request_id: requestId }));
  await drain.step();
  expect(await spendable(store, customer)).toMatchObject({ spendable: 930, pend: 0 });
  const rows = await books.db.query('select kind, status, cost from usage_records where org_id = $1', [customer.orgId]);
  expect(rows).toEqual([{ kind: 'final', status: 'complete', cost: 70 }]);
});

test('what a crash left untold is told again', async () => {
  const store = await openStore();
  const customer = await newCustomer(books.db);
  await projectOrg(books.db, store, customer.orgId);
  await projectToken(books.db, store, customer.tokenId);
  await repairProjections(books.db, store);
  expect(await repairProjections(books.db, store)).toBe(0);
  await give(books.db, customer, 77);
  await books.db.query("update tokens set status = 'paused' where token_id = $1", [customer.tokenId]);
  expect(await repairProjections(books.db, store)).toBe(2);
  expect(await spendable(store, customer)).toMatchObject({ spendable: 77 });
  expect(await store.lookup(customer.tokenId)).toMatchObject({ kind: 'found', token: { status: 'paused', version: 2 } });
  expect(await repairProjections(books.db, store)).toBe(0);
});
