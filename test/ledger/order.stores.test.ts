import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import { readBalance } from '../../src/ledger/balance.js';
import { postCharges } from '../../src/ledger/post.js';
import { type Books, batch, charge, findings, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(() => books.close());

interface Told {
  readonly request: number;
  readonly kind: 'floor' | 'final';
  readonly cost: number;
}

/** What a request costs by everything that was ever said about it: a final if there is one, else the largest floor. */
function joined(all: readonly Told[]): number {
  const known = new Map<number, Told>();
  for (const one of all) {
    const before = known.get(one.request);
    if (!before || (before.kind === 'floor' && (one.kind === 'final' || one.cost > before.cost))) known.set(one.request, one);
  }
  return [...known.values()].reduce((sum, one) => sum + one.cost, 0);
}

const FINAL = [0, 17, 40, 250, 3]; // a request has one final, however often it is told

const told: fc.Arbitrary<Told> = fc
  .record({ request: fc.nat(4), kind: fc.constantFrom('floor' as const, 'final' as const), floor: fc.nat(300) })
  .map(({ request, kind, floor }) => ({ request, kind, cost: kind === 'final' ? (FINAL[request] ?? 0) : floor }));

test('any order, repetition and cutting into batches ends in the same balances, with books that add up', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(told, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 }),
      fc.nat(500),
      async (batches, given) => {
        const customer = await newCustomer(books.db);
        if (given > 0) await give(books.db, customer, given);
        if (given > 0) await give(books.db, customer, given, { priority: 10, category: 'promo', source: 'promo' });
        const ids = Array.from({ length: 5 }, () => newRequestId());
        for (const part of batches) {
          const events = part.map((one) => charge(customer, one.cost, { kind: one.kind, request_id: ids[one.request] ?? newRequestId() }));
          await postCharges(books.db, batch(...events));
        }
        const spent = joined(batches.flat());
        expect(await readBalance(books.db, customer.orgId)).toMatchObject({ avail: 2 * given - spent, monthSpent: spent });
      },
    ),
    { numRuns: 60 },
  );
  expect(await findings(books.db)).toEqual([]);
});
