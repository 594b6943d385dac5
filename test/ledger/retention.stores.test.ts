import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { newRequestId } from '../../src/domain/ids.js';
import { type CycleOptions, createCycles } from '../../src/ledger/cycles.js';
import { postCharges } from '../../src/ledger/post.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { letGoMonths } from '../../src/ledger/retention.js';
import { asAdmin } from '../support/postgres.js';
import { type Books, batch, type Customer, charge, damage, findings, give, newCustomer, openBooks } from './books.js';

let books: Books;
let store: CreditStore;
let here: Customer;
let there: Customer;
beforeAll(async () => {
  store = createEmbeddedStore();
  for (const state of ['filling', 'open'] as const)
    for (const shard of await store.shards()) await store.transition(shard.shard, shard, state);
});

/** January is over for more than 31 days, February for 31, March is not. */
const NOW = Date.UTC(2026, 3, 1);
const TERMS = { nowMs: NOW, retentionDays: 31 };

beforeEach(async () => {
  books = await openBooks(6);
  await books.db.query("select ensure_usage_partitions('2026-01-15', 3)");
  here = await newCustomer(books.db);
  there = await newCustomer(books.db, { timeZone: 'America/Los_Angeles' });
  for (const customer of [here, there]) await give(books.db, customer, 100_000);
  await threeMonths();
});
afterAll(async () => books?.close());

const at = (time: string, customer: Customer, cost: number, fields: Partial<ChargeEvent> = {}): ChargeEvent =>
  charge(customer, cost, { request_id: idAt(Date.parse(time)), ...fields });
const idAt = (ms: number) => `req_${ms.toString(16).padStart(12, '0')}7000${newRequestId().slice(-16)}` as ChargeEvent['request_id'];
const book = (...events: ChargeEvent[]) => postCharges(books.db, batch(...events));

/** Everything that can happen at the edges: days of two months, transactions of two months, corrections much later. */
async function threeMonths(): Promise<void> {
  const floor = at('2026-01-20T12:00:00Z', here, 500, { kind: 'floor' });
  const dear = at('2026-01-21T12:00:00Z', here, 900, { kind: 'floor' });
  await book(
    floor,
    dear,
    at('2026-01-20T13:00:00Z', there, 7, { status: 'failed' }),
    at('2026-01-20T14:00:00Z', here, 0, { status: 'rejected' }),
  );
  await book(at('2026-01-31T23:59:59Z', here, 11), at('2026-02-01T00:00:00Z', here, 13));
  await book(at('2026-01-31T23:00:00Z', there, 17), at('2026-02-01T07:59:00Z', there, 19), at('2026-02-01T08:00:00Z', there, 23));
  // One transaction for three months, as after a long outage; what the operator lost is booked too.
  await book(
    at('2026-01-02T00:00:00Z', here, 29),
    at('2026-02-02T00:00:00Z', here, 31, { operator_loss: 5 }),
    at('2026-03-02T00:00:00Z', here, 37),
  );
  await book({ ...floor, kind: 'final', cost: 700, breakdown: charge(here, 700).breakdown });
  await book({ ...dear, kind: 'final', cost: 400, breakdown: charge(here, 400).breakdown });
  await book(at('2026-03-10T00:00:00Z', there, 41, { model: 'another' }));
  expect(await findings(books.db)).toEqual([]);
}

const months = () =>
  books.db.query<{ month: string; gone: boolean }>('select month, gone_at is not null as gone from usage_past_months order by month');
const left = () => books.db.query<{ day: string; cost: number }>('select day, cost from usage_records order by ts');
/** Everything about money that must not be touched. */
const money = () =>
  books.db.one(`select (select json_agg(b order by org_id) from org_balances b) as balances, (select json_agg(a order by id) from ledger_accounts a) as accounts,
    (select sum(hashtext(e::text)) from ledger_entries e) as entries, (select json_agg(r order by r) from usage_rollups r) as sums,
    (select json_agg(u order by token_id) from token_use u) as tokens`);

describe('months that ended long enough ago', () => {
  test('go as a whole; sums, balances and tokens stay as they were, and the books prove themselves', async () => {
    const before = await money();
    expect(await letGoMonths(books.db, TERMS)).toEqual({ gone: ['2026-01', '2026-02'], kept: [] });
    expect(await months()).toEqual([
      { month: '2026-01-01', gone: true },
      { month: '2026-02-01', gone: true },
    ]);
    expect(await left()).toEqual([
      { day: '2026-03-02', cost: 37 },
      { day: '2026-03-09', cost: 41 },
    ]);
    expect(await money()).toEqual(before);
    const report = await reconcile({ db: books.db });
    expect(report.findings).toEqual([]);
    expect(report.checked).toMatchObject({ past_months_chain: 2, rollups_equal_rows: 2 });
    expect(await letGoMonths(books.db, TERMS)).toEqual({ gone: [], kept: [] });
  });

  test('go one by one as time passes, and only when somebody set a number of days', async () => {
    const cycles = (nowMs: number, retentionDays: number | null) =>
      createCycles({ db: books.db, store, owner: 'a', clock: { nowMs: () => nowMs }, retentionDays }).step();
    expect(await cycles(Date.UTC(2030, 1, 1), null)).toMatchObject({ letGo: 0 });
    expect(await cycles(Date.UTC(2026, 2, 3), 31)).toMatchObject({ letGo: 0 });
    expect(await cycles(Date.UTC(2026, 2, 4), 31)).toMatchObject({ letGo: 1 });
    expect(await findings(books.db)).toEqual([]);
    expect(await cycles(Date.UTC(2026, 3, 1) - 1, 31)).toMatchObject({ letGo: 0 });
    expect(await cycles(Date.UTC(2026, 3, 1), 31)).toMatchObject({ letGo: 1 });
    expect(await findings(books.db)).toEqual([]);
    expect(await left()).toHaveLength(2);
  });

  test('never come back: not as a partition, and whoever is late is neither charged twice nor lost', async () => {
    const [known] = await books.db.query<{ id: string }>(
      "select 'req_' || replace(request_id::text, '-', '') as id from usage_records where cost = 11",
    );
    await letGoMonths(books.db, TERMS);
    await books.db.query("select ensure_usage_partitions('2026-01-15', 3)");
    const [made] = await books.db.query<{ names: string[] }>(
      "select array_agg(relname::text order by relname) as names from pg_class where relname ~ '^usage_records_2026_0[1-4]$'",
    );
    expect(made?.names).toEqual(['usage_records_2026_03', 'usage_records_2026_04']);
    const before = await money();
    const again = at('2026-01-31T23:59:59Z', here, 11, { request_id: known?.id as ChargeEvent['request_id'] });
    await expect(book(again)).rejects.toThrow(/let go.*cannot be told whether it was charged/);
    await expect(book(at('2026-02-14T00:00:00Z', here, 3), at('2026-03-14T00:00:00Z', here, 5))).rejects.toThrow(/let go/);
    expect(await money()).toEqual(before);
    await book(at('2026-03-14T00:00:00Z', here, 5));
    expect(await findings(books.db)).toEqual([]);
  });
});

describe('a month whose books do not prove themselves stays, with everything in it', () => {
  test.each([
    [
      'its sums say something else',
      "update usage_rollups set cost = cost + 1 where day = '2026-01-20'",
      "update usage_rollups set cost = cost - 1 where day = '2026-01-20'",
      /2026-01-20.*sums say/,
    ],
    [
      'a transaction booked something else',
      'update usage_records set cost = 8 where cost = 7; update usage_rollups set cost = 8 where cost = 7',
      'update usage_records set cost = 7 where cost = 8; update usage_rollups set cost = 7 where cost = 8',
      /did not book what their rows make/,
    ],
    [
      'a request was set aside',
      `insert into poison_rows (request_id, event, error) values ('req_${Date.UTC(2026, 0, 5).toString(16).padStart(12, '0')}${'0'.repeat(20)}', '{}', 'x')`,
      'update poison_rows set resolved_at = now()',
      /1 requests of 2026-01 were set aside/,
    ],
  ])('%s', async (_, plant, mend, why) => {
    await damage(books.url, plant);
    const told: { month: string; why: string }[] = [];
    const cycles = createCycles({
      db: books.db,
      store,
      owner: 'a',
      clock: { nowMs: () => NOW },
      retentionDays: 31,
      onKept: (what) => told.push(what),
    });
    expect(await cycles.step()).toMatchObject({ letGo: 1 });
    expect(told).toEqual([{ month: '2026-01', why: expect.stringMatching(why) }]);
    expect(await months()).toEqual([{ month: '2026-02-01', gone: true }]);
    await cycles.step();
    expect(told, 'it is not looked at all the time').toHaveLength(1);
    await damage(books.url, mend);
    expect(await letGoMonths(books.db, TERMS)).toEqual({ gone: ['2026-01'], kept: [] });
    expect(await findings(books.db)).toEqual([]);
  });

  test('its rows are not those it was sealed with', async () => {
    await books.db.query("select seal_usage_month('2026-01-01')");
    await damage(books.url, 'update usage_records set cost = 8 where cost = 7');
    expect(await letGoMonths(books.db, TERMS)).toMatchObject({
      kept: [{ month: '2026-01', why: expect.stringContaining('not those it was sealed with') }],
    });
  });
});

describe('between sealing and going', () => {
  test('the rows still count themselves, and nothing changes them', async () => {
    const late = at('2026-01-25T00:00:00Z', here, 50, { kind: 'floor' });
    await book(late);
    await books.db.query("select seal_usage_month('2026-01-01')");
    expect(await findings(books.db)).toEqual([]);
    await expect(book({ ...late, kind: 'final', cost: 60, breakdown: charge(here, 60).breakdown })).rejects.toThrow(/let go/);
    await expect(book(at('2026-01-26T00:00:00Z', here, 1))).rejects.toThrow(/let go/);
    await expect(books.db.query("delete from usage_records where ts < '2026-02-01'")).rejects.toThrow(/let go/);
    expect(await letGoMonths(books.db, TERMS)).toMatchObject({ gone: ['2026-01', '2026-02'] });
    expect(await findings(books.db)).toEqual([]);
  });

  test('whoever reads for long is not disturbed; the month goes when they are done', async () => {
    await asAdmin(books.url, async (sql) => {
      await sql.unsafe('begin; select count(*) from usage_records');
      await expect(letGoMonths(books.db, TERMS)).rejects.toThrow(/lock timeout/);
      expect(await months()).toEqual([{ month: '2026-01-01', gone: false }]);
      await sql.unsafe('commit');
    });
    expect((await letGoMonths(books.db, TERMS)).gone).toEqual(['2026-01', '2026-02']);
    expect(await findings(books.db)).toEqual([]);
  });
});

test('two workers whose connections are cut all the time let every month go once', async () => {
  const before = await money();
  const told: string[] = [];
  let going = true;
  const killer = asAdmin(books.url, async (sql) => {
    while (going) {
      await sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'active' limit 1`);
      await new Promise((go) => setTimeout(go, 15));
    }
  });
  const worker = async (owner: string) => {
    const options: CycleOptions = {
      db: books.db,
      store,
      owner,
      clock: { nowMs: () => NOW },
      retentionDays: 31,
      onLetGo: (month) => told.push(month),
    };
    for (let i = 0; i < 12; i++) {
      // As if the other had been away for longer than its lease, so that both really work at the same time.
      await books.db.query("update leases set until = now() - interval '1 second' where name = 'cycles'").catch(() => undefined);
      await createCycles(options)
        .step()
        .catch(() => undefined);
    }
  };
  await Promise.all([worker('a'), worker('b')]);
  going = false;
  await killer;
  await letGoMonths(books.db, TERMS);
  expect((await months()).map(({ gone }) => gone)).toEqual([true, true]);
  // An answer may be lost with its connection, so one may go untold, but none is told twice.
  expect(new Set(told).size).toBe(told.length);
  expect(await findings(books.db)).toEqual([]);
  expect(await left()).toHaveLength(2);
  expect(await money()).toMatchObject({ entries: (before as { entries: unknown }).entries, sums: (before as { sums: unknown }).sums });
});

describe('what is kept of a month', () => {
  test.each([
    ['a sum', 'update usage_past_sums set cost = cost + 1 where cost = 17', ['past_months_chain', 'rollups_equal_rows']],
    ['a charge', 'update usage_past_charges set amount = amount - 1 where amount = 29', ['past_months_chain', 'charges_equal_entries']],
    ['a month', 'update usage_past_months set requests = requests + 1', ['past_months_chain']],
    [
      'a whole month',
      "delete from usage_past_months where month = '2026-01-01'",
      ['past_months_chain', 'rollups_equal_rows', 'charges_equal_entries'],
    ],
  ])('%s that somebody changed is named', async (_, plant, checks) => {
    await letGoMonths(books.db, TERMS);
    await damage(books.url, plant);
    const { findings: found } = await reconcile({ db: books.db });
    expect([...new Set(found.map(({ check }) => check))].sort()).toEqual([...checks].sort());
  });

  test('nothing in it can be changed in the ordinary way', async () => {
    await letGoMonths(books.db, TERMS);
    for (const statement of [
      'update usage_past_sums set cost = 0',
      'delete from usage_past_charges',
      'delete from usage_past_months',
      'truncate usage_past_sums',
      'update usage_past_months set gone_at = null',
      'update usage_past_months set gone_at = now()',
    ])
      await expect(books.db.query(statement), statement).rejects.toThrow(/append-only|cannot truncate/);
  });
});
