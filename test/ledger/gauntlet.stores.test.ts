import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { type Database, openDatabase } from '../../src/db/client.js';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId } from '../../src/domain/ids.js';
import { readBalance } from '../../src/ledger/balance.js';
import { createDrain } from '../../src/ledger/drain.js';
import { createHeal } from '../../src/ledger/heal.js';
import { postCharges } from '../../src/ledger/post.js';
import { createSweep } from '../../src/ledger/sweep.js';
import { asAdmin } from '../support/postgres.js';
import { startTcpProxy, type TcpProxy } from '../support/proxy.js';
import { type Books, batch, charge, findings, give, newCustomer, openBooks } from './books.js';

/** The scenarios between the hot store and the books, each delivered in the worst way there is. */
let books: Books;
let proxy: TcpProxy;
let cuttable: Database;

beforeAll(async () => {
  books = await openBooks(8);
  const url = new URL(books.url);
  proxy = await startTcpProxy({ port: Number(url.port) });
  url.port = String(proxy.port);
  cuttable = openDatabase({ url: url.href, max: 1, timeoutMs: 5_000 });
});
afterAll(async () => {
  expect(await findings(books.db)).toEqual([]);
  await cuttable.close();
  await proxy.stop();
  await books.close();
});

const owner = 'test';

async function openStore(clock?: { nowMs(): number }): Promise<CreditStore> {
  const store = createEmbeddedStore(clock ? { clock } : {});
  await createHeal({ db: books.db, store, owner, reholdMs: 0 }).step();
  return store;
}

const settle = (store: CreditStore, event: ChargeEvent) =>
  store.settle({
    requestId: event.request_id,
    orgId: event.org_id,
    tokenId: event.token_id,
    kind: event.kind,
    cost: microCredits(event.cost),
    event: JSON.stringify(event),
  });

async function drained(store: CreditStore, db: Database = books.db): Promise<void> {
  const drain = createDrain({ db, store, owner });
  for (let idle = 0; idle < 2; ) idle = (await drain.step()).kind === 'idle' ? idle + 1 : 0;
}

const rowsOf = (orgId: string) => books.db.query<{ cost: number }>('select cost from usage_records where org_id = $1', [orgId]);

test('G22: a settlement delivered three times, before and after it was booked, is one charge', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  const store = await openStore();
  const event = charge(customer, 10);
  expect(await settle(store, event)).toMatchObject({ kind: 'settled', repeated: false });
  expect(await settle(store, event)).toMatchObject({ kind: 'settled', repeated: true });
  await drained(store);
  await settle(store, event);
  await drained(store);
  expect(await store.inspect(customer.orgId)).toMatchObject({ spendable: 990, pend: 0, held: 0 });
  expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 990 });
  expect(await rowsOf(customer.orgId)).toEqual([{ cost: 10 }]);
});

test('G23: a settlement that comes after its hold has run out is charged, once', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  let nowMs = Date.now();
  const store = await openStore({ nowMs: () => nowMs });
  const event = charge(customer, 70, { request_id: newRequestId() });
  const hold = { requestId: event.request_id, orgId: customer.orgId, tokenId: customer.tokenId, leaseMs: 20_000, note: '{}' };
  await store.rehold({ ...hold, amount: microCredits(100), floor: microCredits(0) });
  nowMs += 21_000;
  expect(await createSweep({ store }).step()).toMatchObject({ swept: 1 });
  expect(await store.inspect(customer.orgId)).toMatchObject({ held: 0 });
  await settle(store, event);
  await settle(store, event);
  await drained(store);
  expect(await store.inspect(customer.orgId)).toMatchObject({ spendable: 930, held: 0, pend: 0 });
  expect(await rowsOf(customer.orgId)).toEqual([{ cost: 70 }]);
});

test('G25: charges that Postgres has committed, but whose answer was lost, are not booked twice', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000_000);
  for (let round = 0; round < 10; round++) {
    // Once a connection has prepared the statement, one message runs it: nothing has to be answered before the commit.
    await postCharges(cuttable, batch(charge(customer, 1)));
    proxy.mode('swallow');
    const posting = postCharges(cuttable, batch(...Array.from({ length: 20 }, () => charge(customer, 1))));
    await expect.poll(async () => (await rowsOf(customer.orgId)).length, { timeout: 10_000 }).toBe((round + 1) * 21);
    proxy.cutAll();
    proxy.mode('pass');
    expect((await posting).rejected).toEqual([]);
  }
  expect(await rowsOf(customer.orgId)).toHaveLength(210);
  expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 1_000_000 - 210, monthSpent: 210 });
});

test('G27: eight posters over the same organizations, each failing to serialize now and then, charge exactly the sum', async () => {
  const customers = await Promise.all(Array.from({ length: 4 }, () => newCustomer(books.db)));
  for (const customer of customers) await give(books.db, customer, 1_000_000);
  const failures = await asAdmin(books.url, async (sql) => {
    await sql.unsafe(`create sequence serialization_failures;
      grant usage on sequence serialization_failures to public;
      create function fail_to_serialize() returns trigger language plpgsql as $$
        begin
          if nextval('serialization_failures') % 3 = 1 then raise exception 'planted' using errcode = '40001'; end if;
          return null;
        end $$;
      create trigger planted before insert on usage_records for each statement execute function fail_to_serialize()`);
    const poster = async (): Promise<void> => {
      for (let i = 0; i < 10; i++) await postCharges(books.db, batch(...customers.map((customer) => charge(customer, 7))));
    };
    await Promise.all(Array.from({ length: 8 }, poster));
    const [row] = await sql.unsafe('select last_value::int as n from serialization_failures');
    await sql.unsafe('drop trigger planted on usage_records; drop function fail_to_serialize; drop sequence serialization_failures');
    return Number(row?.['n']);
  });
  expect(failures).toBeGreaterThan(80);
  for (const { orgId } of customers) {
    expect(await readBalance(books.db, orgId)).toMatchObject({ avail: 1_000_000 - 560, monthSpent: 560 });
    expect(await rowsOf(orgId)).toHaveLength(80);
  }
});
