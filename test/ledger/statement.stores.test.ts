import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newRequestId, type RequestId } from '../../src/domain/ids.js';
import { readBalance } from '../../src/ledger/balance.js';
import { listGrantCharges, requestsOf } from '../../src/ledger/charges.js';
import { expireGrants, postAdjustment, postCharges, postDeduction } from '../../src/ledger/post.js';
import { type GrantFlow, readStatement } from '../../src/ledger/statement.js';
import { everyTransaction, listTransactions } from '../../src/ledger/transactions.js';
import { type Books, batch, type Customer, charge, findings, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(() => books.close());

type Step =
  | { readonly do: 'grant'; readonly amount: number; readonly kind: 'topup' | 'trial' | 'manual'; readonly lasts: number | null }
  | {
      readonly do: 'charge';
      readonly each: readonly { readonly request: number; readonly kind: 'floor' | 'final'; readonly cost: number }[];
    }
  | { readonly do: 'adjust'; readonly amount: number; readonly grant: number }
  | { readonly do: 'deduct'; readonly amount: number }
  | { readonly do: 'expire'; readonly afterS: number };

const one = fc.record({ request: fc.nat(11), kind: fc.constantFrom('floor' as const, 'final' as const), cost: fc.nat(120) });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('charge' as const), each: fc.array(one, { minLength: 1, maxLength: 5 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      amount: fc.integer({ min: 1, max: 200 }),
      kind: fc.constantFrom('topup' as const, 'trial' as const, 'manual' as const),
      lasts: fc.option(fc.integer({ min: 1, max: 100 })),
    }),
  },
  fc.record({ do: fc.constant('adjust' as const), amount: fc.integer({ min: -80, max: 80 }).filter(Boolean), grant: fc.nat(3) }),
  fc.record({ do: fc.constant('deduct' as const), amount: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ do: fc.constant('expire' as const), afterS: fc.nat(120) }),
);

const START_MS = Date.parse('2026-11-20T12:00:00Z');
let keys = 0;

async function live(customer: Customer, steps: readonly Step[]): Promise<void> {
  const ids: RequestId[] = Array.from({ length: 12 }, () => newRequestId(START_MS));
  const { db } = books;
  const { orgId } = customer;
  for (const now of steps) {
    const key = `life:${++keys}`;
    if (now.do === 'grant') {
      const expiresAtMs = now.lasts === null ? null : START_MS + now.lasts * 1_000;
      await give(db, customer, now.amount, { kind: now.kind, expiresAtMs, nowMs: START_MS });
    } else if (now.do === 'charge') {
      const events = now.each.map(({ request, kind, cost }) =>
        charge(customer, cost, { kind, request_id: ids[request] ?? newRequestId() }),
      );
      await postCharges(db, batch(...events));
    } else if (now.do === 'adjust') {
      const grants = await db.query<{ id: number }>('select grant_id as id from grants where org_id = $1 order by grant_id', [orgId]);
      const grantId = grants[now.grant]?.id ?? null;
      await postAdjustment(db, { orgId, key, kind: 'adjust', amount: now.amount, counter: 'void', grantId, nowMs: START_MS });
    } else if (now.do === 'deduct') {
      await postDeduction(db, { orgId, key, amount: now.amount, reserved: 0, grantId: null, reason: 'test', actor: 'test' });
    } else await expireGrants(db, { nowMs: START_MS + now.afterS * 1_000 });
  }
}

const leftBy = (flow: GrantFlow): number =>
  flow.granted - flow.paid_debt - flow.consumed + flow.returned + flow.restored - flow.expired - flow.withdrawn;

async function consumedByRequests(customer: Customer, grantId: number): Promise<number> {
  let sum = 0;
  for (let before: number | null = null; ; ) {
    const page = await listGrantCharges(books.db, customer.orgId, { grantId, before, limit: 2 });
    for (const row of page?.rows ?? []) {
      expect(
        row.requests.reduce((all, { amount }) => all + amount, 0),
        'each take is of requests, to the last micro-credit',
      ).toBe(row.amount);
      expect(row.requests_total).toBe(row.requests.length);
      for (const { amount } of row.requests) expect(amount).toBeGreaterThan(0);
      sum += row.amount;
    }
    if (!page?.hasMore) return sum;
    before = page.rows.at(-1)?.entry_id ?? null;
  }
}

test('whatever has happened, the statement adds up to the balance, grant by grant and request by request', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      const customer = await newCustomer(books.db);
      await live(customer, steps);
      const [sheet, statement] = await Promise.all([
        readBalance(books.db, customer.orgId),
        readStatement(books.db, customer.orgId, { liveOnly: false, before: null, limit: 200 }),
      ]);
      if (!statement) throw new Error('no statement');
      const { totals, debt, grants } = statement;
      expect(totals.remaining - debt.owed).toBe(sheet?.avail);
      expect(statement.avail).toBe(sheet?.avail);
      expect(debt.owed).toBe(debt.incurred + debt.withdrawn - debt.repaid - debt.returned);
      expect(totals.grants).toBe(grants.length);
      for (const grant of grants) {
        expect(leftBy(grant)).toBe(grant.remaining);
        expect(await consumedByRequests(customer, grant.grant_id)).toBe(grant.consumed);
      }
      for (const name of ['granted', 'consumed', 'remaining', 'withdrawn', 'expired'] as const)
        expect(totals[name]).toBe(grants.reduce((sum, grant) => sum + grant[name], 0));
      for await (const page of everyTransaction(books.db, customer.orgId, ALL))
        for (const tx of page)
          expect(
            tx.lines.reduce((sum, { amount }) => sum + amount, 0),
            tx.kind,
          ).toBe(0);
    }),
    { numRuns: 60 },
  );
  expect(await findings(books.db)).toEqual([]);
}, 180_000);

const ALL = { kinds: null, from: null, to: null, grantId: null };

test('a transaction that emptied two grants names the requests of each, and those that became debt', async () => {
  const customer = await newCustomer(books.db);
  const [first, second] = [await give(books.db, customer, 5, { priority: 10 }), await give(books.db, customer, 3)];
  const [a, b] = [charge(customer, 4), charge(customer, 5)];
  await postCharges(books.db, batch(a, b));
  const paidFrom = async (grantId: number) => (await listGrantCharges(books.db, customer.orgId, { grantId, before: null, limit: 9 }))?.rows;
  expect(await paidFrom(first.grantId)).toMatchObject([
    {
      amount: 5,
      balance_after: 0,
      requests: [
        { request_id: a.request_id, amount: 4 },
        { request_id: b.request_id, amount: 1 },
      ],
    },
  ]);
  expect(await paidFrom(second.grantId)).toMatchObject([{ amount: 3, requests: [{ request_id: b.request_id, amount: 3 }] }]);
  const [tx] = (await listTransactions(books.db, customer.orgId, { filter: { ...ALL, kinds: ['usage'] }, before: null, limit: 1 })).rows;
  const page = await requestsOf(books.db, customer.orgId, { txId: tx?.tx_id ?? 0, after: null, limit: 1 });
  expect(page).toEqual({ rows: [{ request_id: a.request_id, amount: 4 }], hasMore: true });
  const rest = await requestsOf(books.db, customer.orgId, { txId: tx?.tx_id ?? 0, after: a.request_id, limit: 1 });
  expect(rest).toEqual({ rows: [{ request_id: b.request_id, amount: 5 }], hasMore: false });
  const statement = await readStatement(books.db, customer.orgId, { liveOnly: true, before: null, limit: 9 });
  expect(statement).toMatchObject({ avail: -1, debt: { incurred: 1, owed: 1 }, grants: [], totals: { grants: 2, consumed: 8 } });
});

test('nobody reads the journal of another organization by its numbers', async () => {
  const [mine, theirs] = [await newCustomer(books.db), await newCustomer(books.db)];
  const { grantId, txId } = await give(books.db, theirs, 5);
  const event = charge(theirs, 2);
  await postCharges(books.db, batch(event));
  expect(await listGrantCharges(books.db, mine.orgId, { grantId, before: null, limit: 9 })).toBeUndefined();
  expect(await requestsOf(books.db, mine.orgId, { txId: txId + 1, after: null, limit: 9 })).toEqual({ rows: [], hasMore: false });
  expect((await listTransactions(books.db, mine.orgId, { filter: { ...ALL, grantId }, before: null, limit: 9 })).rows).toEqual([]);
});
