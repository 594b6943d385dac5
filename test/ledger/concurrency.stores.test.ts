import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { readBalance } from '../../src/ledger/balance.js';
import { postCharges } from '../../src/ledger/post.js';
import { asAdmin } from '../support/postgres.js';
import { type Books, batch, charge, findings, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks(8);
});
afterAll(async () => {
  expect(await findings(books.db)).toEqual([]);
  await books.close();
});

test('many posters over the same organizations, in any order, charge exactly the sum', async () => {
  const customers = await Promise.all(Array.from({ length: 6 }, () => newCustomer(books.db)));
  for (const customer of customers) await give(books.db, customer, 1_000_000);
  const posts = Array.from({ length: 40 }, (_, i) => {
    const events = customers.flatMap((customer) => [charge(customer, i), charge(customer, 3)]);
    return batch(...(i % 2 === 0 ? events : events.reverse()));
  });
  // Statements that take the same rows the other way round: Postgres ends one of two, and it is simply run again.
  const crossing = Array.from({ length: 10 }, () =>
    books.db
      .query(`with r as (select org_id from org_balances order by org_id desc for update) select count(*) from r`)
      .catch(() => undefined),
  );
  await Promise.all([...posts.map((text) => postCharges(books.db, text)), ...crossing]);
  for (const customer of customers) {
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 1_000_000 - 780 - 120 });
  }
});

test('G27: a deadlock is answered by running the whole statement again', async () => {
  const [a, b] = [await newCustomer(books.db), await newCustomer(books.db)];
  for (const customer of [a, b]) await give(books.db, customer, 1_000);
  const [first, second] = [a.orgId, b.orgId].sort();
  if (!first || !second) throw new Error('two organizations are needed');
  // Holds the second row and then wants the first, while the poster holds the first and wants the second.
  const rival = asAdmin(books.url, async (sql) => {
    await sql.unsafe(`set deadlock_timeout = '10s'`);
    await sql.unsafe(`begin; select 1 from org_balances where org_id = '${second}' for update`);
    const posting = postCharges(books.db, batch(charge(a, 10), charge(b, 10)));
    for (let waiting = 0; waiting === 0; ) {
      const [row] = await sql.unsafe(
        `select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
      );
      waiting = Number(row?.['n'] ?? 0);
    }
    await sql.unsafe(`select 1 from org_balances where org_id = '${first}' for update`);
    await sql.unsafe('commit');
    return posting;
  });
  await rival;
  for (const customer of [a, b]) expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 990 });
});

test('a backend ended in the middle of a hundred posts: each is booked once, and the process lives', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 10_000_000);
  let done = false;
  let killed = 0;
  const killer = asAdmin(books.url, async (sql) => {
    while (!done) {
      const rows = await sql.unsafe(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
         and application_name = 'farebox' order by (state = 'active') desc, random() limit 1`,
      );
      killed += rows.length;
      await new Promise((go) => setTimeout(go, 25));
    }
  });
  const post = async (events: readonly ChargeEvent[]): Promise<void> => {
    for (;;) {
      const outcome = await postCharges(books.db, batch(...events)).catch((error: { code: string }) => error.code);
      if (typeof outcome !== 'string') return;
    }
  };
  let posted = 0;
  const until = async (): Promise<void> => {
    while (posted < 100 || killed < 100) {
      posted += 1;
      await post(Array.from({ length: 20 }, () => charge(customer, 5)));
    }
  };
  await Promise.all(Array.from({ length: 8 }, until));
  done = true;
  await killer;
  expect(killed).toBeGreaterThanOrEqual(100);
  expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 10_000_000 - posted * 100, monthSpent: posted * 100 });
});

test('G28: a million charges of one micro-credit are exactly a million', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 2_000_000);
  const one = JSON.stringify(charge(customer, 1));
  const id = JSON.parse(one).request_id as string;
  const size = 10_000;
  const post = async (from: number): Promise<void> => {
    const texts = Array.from({ length: size }, (_, i) => one.replace(id, id.slice(0, 20) + (from + i).toString(16).padStart(16, '0')));
    await postCharges(books.db, texts);
  };
  for (let from = 0; from < 1_000_000; from += 2 * size) await Promise.all([post(from), post(from + size)]);
  expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 1_000_000, monthSpent: 1_000_000 });
  const [use] = await books.db.query('select total from token_use where token_id = $1', [customer.tokenId]);
  expect(use).toEqual({ total: 1_000_000 });
  const startedMs = performance.now();
  expect(await findings(books.db)).toEqual([]);
  process.stdout.write(`reconciled a million rows in ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`);
}, 180_000);
