import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newRequestId, requestTimeMs } from '../../src/domain/ids.js';
import { readBalance } from '../../src/ledger/balance.js';
import { expireGrants, postAdjustment, postCharges } from '../../src/ledger/post.js';
import { type Books, batch, charge, findings, give, leftOf, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(async () => {
  expect(await findings(books.db)).toEqual([]);
  await books.close();
});

const DAY = 86_400_000;

describe('grants are used up', () => {
  test('by priority, then soonest expiry, then promo before plan before paid, then oldest', async () => {
    const customer = await newCustomer(books.db);
    const soon = Date.now() + DAY;
    await give(books.db, customer, 100, { priority: 50, category: 'paid' }); // 0: sixth
    await give(books.db, customer, 100, { priority: 50, category: 'plan' }); // 1: fifth
    await give(books.db, customer, 100, { priority: 50, category: 'promo' }); // 2: third
    await give(books.db, customer, 100, { priority: 50, category: 'promo' }); // 3: fourth
    await give(books.db, customer, 100, { priority: 50, category: 'paid', expiresAtMs: soon }); // 4: second
    await give(books.db, customer, 100, { priority: 10, category: 'paid' }); // 5: first
    const seen: number[][] = [];
    for (let i = 0; i < 6; i++) {
      await postCharges(books.db, batch(charge(customer, 100)));
      seen.push(await leftOf(books.db, customer.orgId));
    }
    expect(seen).toEqual([
      [100, 100, 100, 100, 100, 0],
      [100, 100, 100, 100, 0, 0],
      [100, 100, 0, 100, 0, 0],
      [100, 100, 0, 0, 0, 0],
      [100, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
    ]);
  });

  test('what no grant covers becomes debt, and the next credits pay it first', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 100);
    await postCharges(books.db, batch(charge(customer, 250)));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: -150, debt: -150, grants: [] });
    const granted = await give(books.db, customer, 200);
    expect(granted).toMatchObject({ repeated: false, avail: 50, debt: 0, amount: 200 });
    expect(await leftOf(books.db, customer.orgId)).toEqual([0, 50]);
  });

  test('what is left when a grant expires is breakage, once', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 100, { expiresAtMs: Date.now() + DAY });
    await give(books.db, customer, 7);
    await postCharges(books.db, batch(charge(customer, 40)));
    const later = { nowMs: Date.now() + 2 * DAY };
    expect(await expireGrants(books.db, later)).toMatchObject([{ orgId: customer.orgId, amount: 60 }]);
    expect(await expireGrants(books.db, later)).toEqual([]);
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 7 });
  });

  test('a grant that expired by a clock that ran ahead, and was given something back since, expires again', async () => {
    const customer = await newCustomer(books.db);
    const ahead = { nowMs: Date.now() + 40 * DAY };
    const { grantId } = await give(books.db, customer, 100, { expiresAtMs: Date.now() + DAY });
    for (const [i, back] of [null, 30, 20].entries()) {
      const order = { orgId: customer.orgId, key: `back:${grantId}:${i}`, kind: 'adjust', counter: 'void', grantId } as const;
      if (back) await postAdjustment(books.db, { ...order, amount: back });
      expect(await expireGrants(books.db, ahead)).toMatchObject([{ orgId: customer.orgId, grantId, amount: back ?? 100 }]);
      expect(await expireGrants(books.db, ahead)).toEqual([]);
    }
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 0, debt: 0 });
  });
});

describe('posting twice is posting once', () => {
  test('the same batch three times, and halves that overlap', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 10_000);
    const events = Array.from({ length: 20 }, (_, i) => charge(customer, i));
    for (let i = 0; i < 3; i++) await postCharges(books.db, batch(...events.slice(0, 12)));
    await postCharges(books.db, batch(...events.slice(6)));
    await postCharges(books.db, batch(...events, ...events));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 10_000 - 190, monthSpent: 190 });
  });

  test('a repeated batch answers the state as it is, so that the hot store can still be told', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 500);
    const text = batch(charge(customer, 20));
    const first = await postCharges(books.db, text);
    expect(await postCharges(books.db, text)).toEqual(first);
    expect(first.orgs[0]?.tokens[0]?.used[0]).toEqual({ window: 'total', amount: 20, endsAtMs: 0 });
  });

  test('a grant under one key, whoever asks how often', async () => {
    const customer = await newCustomer(books.db);
    const all = await Promise.all(Array.from({ length: 8 }, () => give(books.db, customer, 100, { key: `order:${customer.orgId}` })));
    expect(all.filter((one) => !one.repeated)).toHaveLength(1);
    expect(new Set(all.map((one) => one.grantId)).size).toBe(1);
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 100 });
    const other = await newCustomer(books.db);
    await expect(give(books.db, other, 100, { key: `order:${customer.orgId}` })).rejects.toMatchObject({ code: '23505' });
  });
});

describe('a final replaces a floor', () => {
  test('and only the difference is posted, up or down', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 1_000);
    const [up, down] = [newRequestId(), newRequestId()];
    await postCharges(
      books.db,
      batch(charge(customer, 100, { request_id: up, kind: 'floor' }), charge(customer, 100, { request_id: down, kind: 'floor' })),
    );
    await postCharges(books.db, batch(charge(customer, 150, { request_id: up }), charge(customer, 30, { request_id: down })));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 820, monthSpent: 180 });
    await postCharges(books.db, batch(charge(customer, 999, { request_id: up, kind: 'floor' }), charge(customer, 1, { request_id: down })));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 820, monthSpent: 180 });
  });

  test('a larger floor wins over a smaller one, in whatever order and within one batch', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 1_000);
    const id = newRequestId();
    const floor = (cost: number) => charge(customer, cost, { request_id: id, kind: 'floor' });
    await postCharges(books.db, batch(floor(10), floor(40), floor(20)));
    await postCharges(books.db, batch(floor(30)));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 960 });
  });

  test('what comes back goes to the grants in the reverse of how they were burnt', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 100, { priority: 10 });
    await give(books.db, customer, 100, { priority: 20 });
    await give(books.db, customer, 100, { priority: 30 });
    const id = newRequestId();
    await postCharges(books.db, batch(charge(customer, 250, { request_id: id, kind: 'floor' })));
    expect(await leftOf(books.db, customer.orgId)).toEqual([0, 0, 50]);
    await postCharges(books.db, batch(charge(customer, 120, { request_id: id })));
    expect(await leftOf(books.db, customer.orgId)).toEqual([0, 80, 100]);
  });

  test('what comes back to a grant that has expired meanwhile is goodwill', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 100, { expiresAtMs: Date.now() - DAY });
    const id = newRequestId();
    await postCharges(books.db, batch(charge(customer, 90, { request_id: id, kind: 'floor' })));
    await expireGrants(books.db);
    await postCharges(books.db, batch(charge(customer, 20, { request_id: id })));
    const sheet = await readBalance(books.db, customer.orgId);
    expect(sheet).toMatchObject({ avail: 70, grants: [{ kind: 'goodwill', remaining: 70 }] });
  });

  test('what comes back pays debt first', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 100);
    const id = newRequestId();
    await postCharges(books.db, batch(charge(customer, 180, { request_id: id, kind: 'floor' })));
    await postCharges(books.db, batch(charge(customer, 50, { request_id: id })));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 50, debt: 0 });
  });
});

describe('rows', () => {
  test('that cost nothing are written without an entry', async () => {
    const customer = await newCustomer(books.db);
    await postCharges(books.db, batch(charge(customer, 0, { status: 'failed' })));
    const [row] = await books.db.query<{ rows: number; txs: number }>(
      `select (select count(*) from usage_records where org_id = $1) as rows, (select count(*) from ledger_txs where org_id = $1) as txs`,
      [customer.orgId],
    );
    expect(row).toEqual({ rows: 1, txs: 0 });
  });

  test('carry what the operator lost to its account, not to the customer', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 100);
    await postCharges(books.db, batch(charge(customer, 60, { operator_loss: 15 })));
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 40 });
    const [row] = await books.db.query<{ amount: number }>(
      `select e.amount from ledger_entries e join ledger_accounts a on a.id = e.account_id join ledger_txs t on t.id = e.tx_id
       where t.org_id = $1 and a.kind = 'operator_loss'`,
      [customer.orgId],
    );
    expect(row).toEqual({ amount: -15 });
  });

  test('of unknown tokens and organizations are named, and the rest is booked', async () => {
    const [customer, stranger] = [await newCustomer(books.db), await newCustomer(books.db)];
    await give(books.db, customer, 100);
    const lost = charge({ orgId: customer.orgId, tokenId: stranger.tokenId }, 5);
    const nobody = charge({ orgId: 'org_63zzzzzzzzzzzzzz' as typeof customer.orgId, tokenId: stranger.tokenId }, 5);
    const { orgs, rejected } = await postCharges(books.db, batch(lost, charge(customer, 30), nobody));
    expect(orgs).toMatchObject([{ orgId: customer.orgId, balance: { avail: 70 } }]);
    expect(rejected.map((one) => [one.requestId, one.reason]).sort()).toEqual(
      [
        [lost.request_id, `token ${stranger.tokenId} belongs to another organization`],
        [nobody.request_id, 'organization org_63zzzzzzzzzzzzzz is unknown'],
      ].sort(),
    );
  });

  test('fall into the month of their request id, and their duplicates with them', async () => {
    const customer = await newCustomer(books.db);
    await give(books.db, customer, 1_000);
    const now = new Date();
    const months = [-1, 0].map((by) => Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + by, 1) + 1);
    const ids = months.map((ms) => `req_${ms.toString(16).padStart(12, '0')}7000${'8'.repeat(16)}` as ReturnType<typeof newRequestId>);
    const events = ids.map((request_id) => charge(customer, 10, { request_id }));
    await books.db.query('select ensure_usage_partitions($1)', [new Date(months[0] ?? 0)]);
    await postCharges(books.db, batch(...events, ...events));
    await postCharges(books.db, batch(...events));
    const rows = await books.db.query<{ part: string; ts: Date }>(
      'select tableoid::regclass::text as part, ts from usage_records where org_id = $1 order by ts',
      [customer.orgId],
    );
    expect(rows.map((row) => row.part)).toEqual(
      months.map((ms) => `usage_records_${new Date(ms).toISOString().slice(0, 7).replace('-', '_')}`),
    );
    expect(rows.map((row) => row.ts.getTime())).toEqual(ids.map(requestTimeMs));
    // Only what was used in the running month counts against the month.
    expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 980, monthSpent: 10 });
  });

  test('are counted on the organization’s own day and month', async () => {
    const customer = await newCustomer(books.db, { timeZone: 'Pacific/Auckland' });
    const { orgs } = await postCharges(books.db, batch(charge(customer, 3)));
    const ends = new Date(orgs[0]?.balance.monthEndsAtMs ?? 0);
    expect(new Intl.DateTimeFormat('en-GB', { timeZone: 'Pacific/Auckland', day: 'numeric', hour: 'numeric' }).format(ends)).toMatch(
      /^1, 00/,
    );
    expect(orgs[0]?.tokens[0]?.used.map((one) => one.amount)).toEqual([3, 3, 3, 3]);
  });
});

describe('an adjustment', () => {
  test('takes in burn order, gives to the named grant, and refuses to change nothing', async () => {
    const customer = await newCustomer(books.db);
    const first = await give(books.db, customer, 100);
    await give(books.db, customer, 100);
    const adjust = (key: string, amount: number, grantId?: number) =>
      postAdjustment(books.db, {
        orgId: customer.orgId,
        key: `${customer.orgId}:${key}`,
        kind: 'adjust',
        amount,
        counter: 'void',
        grantId: grantId ?? null,
      });
    expect(await adjust('a', -130)).toMatchObject({ avail: 70, repeated: false });
    expect(await adjust('a', -130)).toMatchObject({ avail: 70, repeated: true });
    expect(await leftOf(books.db, customer.orgId)).toEqual([0, 70]);
    await adjust('b', 150, first.grantId);
    expect(await leftOf(books.db, customer.orgId)).toEqual([100, 70, 50]);
    expect(await adjust('c', -300)).toMatchObject({ avail: -80, debt: -80 });
    await expect(adjust('d', 0)).rejects.toMatchObject({ code: '22000' });
  });
});
