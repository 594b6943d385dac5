import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId } from '../../src/domain/ids.js';
import { type CycleOptions, createCycles } from '../../src/ledger/cycles.js';
import { postCharges } from '../../src/ledger/post.js';
import { projectOrg, projectToken } from '../../src/ledger/project.js';
import { asAdmin } from '../support/postgres.js';
import { type Books, batch, type Customer, charge, findings, give, leftOf, newCustomer, openBooks } from './books.js';

let books: Books;
let store: CreditStore;
beforeAll(async () => {
  books = await openBooks(6);
  store = createEmbeddedStore();
  for (const state of ['filling', 'open'] as const)
    for (const shard of await store.shards()) await store.transition(shard.shard, shard, state);
});
afterAll(async () => {
  expect(await findings(books.db)).toEqual([]);
  await books.close();
});

const DAY_MS = 86_400_000;
const worker = (owner: string, nowMs: number, more: Partial<CycleOptions> = {}) =>
  createCycles({ db: books.db, store, owner, clock: { nowMs: () => nowMs }, ...more });
const handOver = () => books.db.query("update leases set until = now() - interval '1 second' where name = 'cycles'");

/** With a limit and a daily quota of 100, both used up, and 500 more to spend. */
async function spent(terms: { timeZone?: string } = {}): Promise<Customer> {
  const customer = await newCustomer(books.db, terms);
  await give(books.db, customer, 600);
  await books.db.query('update organizations set monthly_limit = 100 where org_id = $1', [customer.orgId]);
  await books.db.query('update tokens set quota_daily = 100 where token_id = $1', [customer.tokenId]);
  await postCharges(books.db, batch(charge(customer, 100)));
  await projectOrg(books.db, store, customer.orgId);
  await projectToken(books.db, store, customer.tokenId);
  return customer;
}

async function hold({ orgId, tokenId }: Customer, amount: number) {
  const known = await store.lookup(tokenId);
  if (known.kind !== 'found') throw new Error(known.kind);
  const requestId = newRequestId();
  const held = await store.hold({
    requestId,
    orgId,
    tokenId,
    digest: known.token.digest,
    tokenVersion: known.token.version,
    orgVersion: known.org.version,
    amount: microCredits(amount),
    tokens: 1,
    leaseMs: 20_000,
    note: '{}',
    idempotencyKey: null,
  });
  await store.settle({ requestId, orgId, tokenId, kind: 'final', cost: microCredits(0), event: null });
  return held.kind === 'short' ? `${held.scope} ${held.window ?? ''}`.trim() : held.kind;
}

test('a server whose clock is forty days ahead ends no day, no month and no grant: the database says what time it is', async () => {
  const customer = await spent();
  await give(books.db, customer, 50, { expiresAtMs: Date.now() + DAY_MS });
  await handOver();
  const ahead = Date.now() + 40 * DAY_MS;
  const clock = vi.spyOn(Date, 'now').mockReturnValue(ahead);
  try {
    const round = await createCycles({ db: books.db, store, owner: 'ahead' }).step();
    expect(round).toMatchObject({ kind: 'done', months: 0, windows: 0, expired: 0 });
  } finally {
    clock.mockRestore();
  }
  expect(await hold(customer, 1)).toBe('quota daily');
  await handOver();
  expect(await worker('b', ahead).step(), 'it would have').toMatchObject({ kind: 'done', expired: 1 });
});

test('a day later the daily quota is there again, a month later the limit too', async () => {
  const customer = await spent();
  expect(await hold(customer, 1)).toBe('quota daily');
  await handOver();
  expect(await worker('a', Date.now()).step()).toMatchObject({ kind: 'done', months: 0, windows: 0 });
  expect(await hold(customer, 1)).toBe('quota daily');
  const row = await books.db.one<{ day: Date; month: Date }>(
    'select u.daily_ends_at as day, b.month_ends_at as month from token_use u, org_balances b where u.token_id = $1 and b.org_id = $2',
    [customer.tokenId, customer.orgId],
  );
  const [day, month] = [row?.day.getTime() ?? 0, row?.month.getTime() ?? 0];
  await worker('a', day - 1).step();
  expect(await hold(customer, 1)).toBe('quota daily');
  await worker('a', day).step();
  expect(await hold(customer, 1)).toBe(day >= month ? 'held' : 'limit');
  await worker('a', month).step();
  expect(await hold(customer, 100)).toBe('held');
  expect(await hold(customer, 101)).toBe('quota daily');
});

test('what has expired is gone from the balance everybody sees, and booked to breakage', async () => {
  const customer = await newCustomer(books.db);
  const nowMs = Date.now();
  await give(books.db, customer, 70, { expiresAtMs: nowMs + DAY_MS });
  await give(books.db, customer, 30);
  await projectOrg(books.db, store, customer.orgId);
  await handOver();
  await worker('a', nowMs + DAY_MS - 1).step();
  expect(await store.inspect(customer.orgId)).toMatchObject({ spendable: 100 });
  const done = await worker('a', nowMs + DAY_MS).step();
  expect(done).toMatchObject({ kind: 'done', expired: 1 });
  expect(await store.inspect(customer.orgId)).toMatchObject({ spendable: 30 });
  expect(await leftOf(books.db, customer.orgId)).toEqual([0, 30]);
});

test('while one works the others stand by, and take over when it does not come back', async () => {
  await handOver();
  expect((await worker('a', Date.now()).step()).kind).toBe('done');
  expect((await worker('b', Date.now()).step()).kind).toBe('standby');
  await handOver();
  expect((await worker('b', Date.now()).step()).kind).toBe('done');
  expect((await worker('a', Date.now()).step()).kind).toBe('standby');
});

test('two workers whose connections are cut all the time do everything once', async () => {
  const customers = await Promise.all(
    Array.from({ length: 12 }, (_, i) => spent({ timeZone: i % 2 ? 'Asia/Kolkata' : 'America/Los_Angeles' })),
  );
  const nowMs = Date.now() + 45 * DAY_MS;
  for (const customer of customers) await give(books.db, customer, 50, { expiresAtMs: nowMs - DAY_MS });
  const versions = async () =>
    new Map(
      (await books.db.query<{ org_id: string; version: number }>('select org_id, version from org_balances')).map((row) => [
        row.org_id,
        row.version,
      ]),
    );
  const before = await versions();
  let going = true;
  const killer = asAdmin(books.url, async (sql) => {
    while (going) {
      await sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'active' limit 1`);
      await new Promise((go) => setTimeout(go, 20));
    }
  });
  const run = async (owner: string) => {
    for (let i = 0; i < 15; i++) {
      // As if the other had been away for longer than its lease, so that both really work at the same time.
      await handOver().catch(() => undefined);
      await worker(owner, nowMs, { batch: 5 })
        .step()
        .catch(() => undefined);
    }
  };
  await Promise.all([run('a'), run('b')]);
  going = false;
  await killer;
  await handOver();
  await worker('a', nowMs).step();
  await handOver();
  expect(await worker('b', nowMs).step()).toMatchObject({ months: 0, windows: 0, expired: 0, told: 0 });
  const after = await versions();
  for (const { orgId, tokenId } of customers) {
    // The month, the window and the grant: three changes, each of them once.
    expect((after.get(orgId) ?? 0) - (before.get(orgId) ?? 0)).toBe(3);
    expect(await leftOf(books.db, orgId)).toEqual([500, 0]);
    expect(await hold({ orgId, tokenId }, 100)).toBe('held');
    expect(await store.inspect(orgId)).toMatchObject({ spendable: 500, balance: { monthSpent: 0, balanceVersion: after.get(orgId) } });
  }
});

test('keys and tries go when their time is over, not before; partitions are made ahead', async () => {
  const nowMs = Date.now();
  await books.db.query(`insert into idempotency_keys (scope, key, request_hash, expires_at)
    select 'test', n::text, '', now() + make_interval(mins => n) from generate_series(1, 30) n`);
  await books.db.query(
    `insert into code_attempts (org_id, actor, at, good) select 'o', 'a', now() - make_interval(mins => n), false from generate_series(1, 30) n`,
  );
  const left = () =>
    books.db.one<{ keys: number; tries: number }>(
      `select (select count(*) from idempotency_keys where scope = 'test') as keys, (select count(*) from code_attempts) as tries`,
    );
  await handOver();
  await worker('a', nowMs - 60_000, { batch: 4 }).step();
  expect(await left()).toEqual({ keys: 30, tries: 30 });
  await worker('a', nowMs + 15.5 * 60_000, { batch: 4, attemptsKeptMs: 30 * 60_000 }).step();
  expect(await left()).toEqual({ keys: 15, tries: 14 });
  const far = Date.UTC(2031, 4, 15);
  await worker('a', far).step();
  const made = await books.db.query<{ name: string }>(
    `select relname as name from pg_class where relname like 'usage_records_2031%' and relkind = 'r'`,
  );
  expect(made.map((row) => row.name).sort()).toEqual(['usage_records_2031_05', 'usage_records_2031_06', 'usage_records_2031_07']);
});
