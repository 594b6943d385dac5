import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postCharges } from '../../src/ledger/post.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { type Books, batch, type Customer, charge, damage, give, newCustomer, openBooks } from './books.js';

let books: Books;
let customer: Customer;
beforeAll(async () => {
  books = await openBooks();
  customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  await give(books.db, customer, 500, { priority: 10 });
  await postCharges(books.db, batch(charge(customer, 600), charge(customer, 5)));
  await books.db.query("insert into audit_log (actor, action) values ('a', 'x'), ('b', 'y'), ('c', 'z')");
});
afterAll(() => books.close());

describe('what is booked stays booked', () => {
  test.each(['ledger_txs', 'ledger_entries', 'grants', 'audit_log', 'usage_corrections'])(
    '%s takes no update and no delete',
    async (table) => {
      if (table === 'usage_corrections') {
        await books.db.query(
          `insert into usage_corrections (request_id, ts, org_id, old_kind, new_kind, old_cost, new_cost, old_operator_loss, new_operator_loss)
         values (gen_random_uuid(), now(), $1, 'floor', 'final', 0, 0, 0, 0)`,
          [customer.orgId],
        );
      }
      const id = table === 'grants' ? 'grant_id' : 'id';
      const refused = { code: '23000', message: expect.stringContaining('append-only') };
      await expect(books.db.query(`delete from ${table}`)).rejects.toMatchObject(refused);
      const column = table === 'audit_log' ? "actor = 'me'" : `${id} = ${id}`;
      if (!column.startsWith('id') && !column.startsWith('grant_id'))
        await expect(books.db.query(`update ${table} set ${column}`)).rejects.toMatchObject(refused);
      else await expect(books.db.query(`update ${table} set org_id = org_id`)).rejects.toThrow();
    },
  );

  test.each(['ledger_entries', 'audit_log'])('%s cannot be emptied', async (table) => {
    await expect(books.db.query(`truncate ${table} cascade`)).rejects.toMatchObject({ code: '23000' });
  });
});

test('entries that do not add up are refused', async () => {
  const lonely = `insert into ledger_entries (tx_id, account_id, amount, account_version, balance_after)
    select (select min(id) from ledger_txs), id, 5, version + 1, balance + 5 from ledger_accounts where kind = 'promo'`;
  await expect(books.db.query(lonely)).rejects.toMatchObject({ code: '23000', message: expect.stringContaining('does not add up') });
});

test.each([
  ['a grant below zero', `update ledger_accounts set balance = -1 where kind = 'grant'`],
  ['a grant above its amount', `update ledger_accounts set balance = max_balance + 1 where kind = 'grant'`],
  ['debt above zero', `update ledger_accounts set balance = 1 where kind = 'debt'`],
])('%s is refused by the table itself', async (_, statement) => {
  await expect(books.db.query(statement)).rejects.toMatchObject({ code: '23514' });
});

test('a batch with one malformed row books nothing', async () => {
  const before = await books.db.query('select count(*) from usage_records');
  const good = charge(customer, 1);
  for (const bad of [
    { cost: -1 },
    { cost: 1e15 },
    { cost: '1e309' as never },
    { kind: 'other' as never },
    { request_id: 'req_x' as never },
    { model: null as never },
  ]) {
    await expect(postCharges(books.db, batch(good, charge(customer, 1, bad)))).rejects.toMatchObject({
      code: expect.stringMatching(/^2[23]/),
    });
  }
  expect(await books.db.query('select count(*) from usage_records')).toEqual(before);
});

test('changing a term raises its version, and nobody can set it by hand', async () => {
  const version = async () =>
    (await books.db.one<{ v: number }>('select terms_version as v from organizations where org_id = $1', [customer.orgId]))?.v;
  expect(await version()).toBe(1);
  await books.db.query('update organizations set monthly_limit = 5, terms_version = 99 where org_id = $1', [customer.orgId]);
  expect(await version()).toBe(2);
  await books.db.query("update organizations set name = 'Other', terms_version = 1 where org_id = $1", [customer.orgId]);
  expect(await version()).toBe(2);
  await expect(
    books.db.query("update organizations set time_zone = 'Mars/Base' where org_id = $1", [customer.orgId]),
  ).rejects.toMatchObject({
    code: '22023',
  });
});

test('each audit line covers the one before it', async () => {
  const rows = await books.db.query<{ id: number; hash: string; previous_hash: string }>(
    'select id, hash, previous_hash from audit_log order by id',
  );
  expect(rows.map((row) => row.id)).toEqual([1, 2, 3]);
  expect(rows.slice(1).map((row) => row.previous_hash)).toEqual(rows.slice(0, -1).map((row) => row.hash));
});

const UNREAD = 'nothing that can be read';

describe('reconcile', () => {
  test('finds nothing in good books, and says what it looked at', async () => {
    const report = await reconcile({ db: books.db });
    expect(report).toMatchObject({
      clean: true,
      findings: [],
      checked: { rollups_equal_rows: 2, prices_recompute: 2, grants_within_bounds: 2 },
    });
  });

  test.each([
    [
      'transactions_add_up',
      `update ledger_entries set amount = amount + 1 where id = 1`,
      `update ledger_entries set amount = amount - 1 where id = 1`,
    ],
    [
      'accounts_equal_entries',
      `update ledger_accounts set balance = balance + 1 where kind = 'usage'`,
      `update ledger_accounts set balance = balance - 1 where kind = 'usage'`,
    ],
    [
      'versions_without_gaps',
      `update ledger_accounts set version = version + 1 where kind = 'usage'`,
      `update ledger_accounts set version = version - 1 where kind = 'usage'`,
    ],
    [
      'running_balances_chain',
      `update ledger_entries set balance_after = balance_after + 7 where id = 2`,
      `update ledger_entries set balance_after = balance_after - 7 where id = 2`,
    ],
    ['balances_equal_accounts', `update org_balances set avail = avail + 1`, `update org_balances set avail = avail - 1`],
    ['grants_within_bounds', `update grants set amount = 1 where grant_id = 1`, `update grants set amount = 1000 where grant_id = 1`],
    [
      'no_debt_beside_credits',
      `update ledger_accounts set balance = -5 where kind = 'debt'`,
      `update ledger_accounts set balance = 0 where kind = 'debt'`,
    ],
    ['rollups_equal_rows', `update usage_rollups set input = input + 1`, `update usage_rollups set input = input - 1`],
    ['charges_equal_entries', `update usage_records set cost = 7 where cost = 5`, `update usage_records set cost = 5 where cost = 7`],
    ['month_counters', `update org_balances set month_spent = 1`, `update org_balances set month_spent = 605`],
    ['token_counters', `update token_use set total = 1`, `update token_use set total = 605`],
    [
      'rows_have_their_transaction',
      `update usage_records set tx_id = 999 where cost = 5`,
      `update usage_records set tx_id = (select max(tx_id) from usage_records where cost = 600) where cost = 5`,
    ],
    ['audit_chain', `update audit_log set actor = 'nobody' where id = 2`, `update audit_log set actor = 'b' where id = 2`],
    [
      'prices_recompute',
      `update usage_records set breakdown = replace(breakdown::text, '"quantity":5', '"quantity":4')::json where cost = 5`,
      `update usage_records set breakdown = replace(breakdown::text, '"quantity":4', '"quantity":5')::json where cost = 5`,
    ],
    ['nothing_set_aside', `insert into poison_rows (event, error) values ('{}', 'why')`, `update poison_rows set resolved_at = now()`],
  ])('%s: names the damage in a sentence with both numbers', async (name, plant, mend) => {
    await damage(books.url, plant);
    const report = await reconcile({ db: books.db });
    expect(report.clean).toBe(false);
    expect(report.findings.map((finding) => finding.check)).toContain(name);
    const finding = report.findings.find((one) => one.check === name);
    expect(finding?.sentence.length).toBeGreaterThan(20);
    await damage(books.url, mend);
    expect((await reconcile({ db: books.db })).findings).toEqual([]);
  });

  test.each([
    [UNREAD, '[]'],
    [UNREAD, '{}'],
    ['0', '{"times":"1"}'],
    ['0', '{"times":"1","lines":{"meter":"input"}}'],
    [UNREAD, '{"times":"1","lines":[{"meter":"input","quantity":5,"rate":"1/0"}]}'],
    [UNREAD, '{"times":"1","lines":[{"meter":"input","quantity":5,"rate":"1"},{"meter":"output","quantity":"many","rate":"1"}]}'],
    [UNREAD, '{"times":"1","lines":[{"meter":"input","quantity":5,"rate":"dear"}]}'],
    [UNREAD, '{"times":"1","lines":[5, null, []]}'],
    [UNREAD, '{"times":"twice","lines":[{"meter":"input","quantity":5,"rate":"1"}]}'],
    [UNREAD, '{"times":"1/0","lines":[{"meter":"input","quantity":5,"rate":"1"}]}'],
    ['7', '{"times":"4/3","lines":[{"meter":"input","quantity":7,"rate":"2/3"}]}'],
    ['7', `{"times":"4/3","lines":[{"meter":"input","quantity":7,"rate":"2${'0'.repeat(60)}/3${'0'.repeat(60)}"}]}`],
    [UNREAD, `{"times":"1","lines":[{"meter":"input","quantity":7,"rate":"${'9'.repeat(401)}"}]}`],
  ])('prices_recompute: a breakdown that became something else makes %s (%#)', async (made, breakdown) => {
    await damage(books.url, `create table was as select breakdown from usage_records where cost = 5`);
    await damage(books.url, `update usage_records set breakdown = '${breakdown}'::json where cost = 5`);
    const { findings } = await reconcile({ db: books.db });
    expect(findings).toMatchObject([{ check: 'prices_recompute', expected: made, found: '5' }]);
    await damage(books.url, `update usage_records set breakdown = (select breakdown from was) where cost = 5; drop table was`);
    expect((await reconcile({ db: books.db })).findings).toEqual([]);
  });
});
