import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database } from '../../src/db/client.js';
import { newRequestId, newTokenId } from '../../src/domain/ids.js';
import type { RefusedRequest } from '../../src/domain/refused.js';
import { postCharges } from '../../src/ledger/post.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { createRefusedDesk, postRefused } from '../../src/ledger/refused.js';
import { type Books, type Customer, charge, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(() => books.close());

const VERSION = 'pv_0123456789abcdef';
const post = (...rows: RefusedRequest[]) => postRefused(books.db, rows, VERSION);

function refused(customer: Customer, over: Partial<RefusedRequest> = {}): RefusedRequest {
  return {
    request_id: newRequestId(),
    org_id: customer.orgId,
    token_id: customer.tokenId,
    ...{ model: 'fake-model', endpoint: '/chat/completions', stream: false, http_status: 402, code: 'insufficient_quota' },
    ...{ latency_ms: 2, client_request_id: null, end_user: null, agent: null, conversation: null, unlisted: 0 },
    ...over,
  };
}

const rowOf = (id: string) =>
  books.db.one<Record<string, unknown>>('select * from usage_records where request_id = substr($1, 5)::uuid', [id]);
const sumsOf = (customer: Customer) =>
  books.db.query<{ model: string; requests: number; errors: number; cost: number }>(
    'select model, requests, errors, cost from usage_rollups where org_id = $1 order by model',
    [customer.orgId],
  );
const walletOf = (customer: Customer) =>
  books.db.one('select b.*, u.total, u.last_used_at from org_balances b, token_use u where b.org_id = $1 and u.token_id = $2', [
    customer.orgId,
    customer.tokenId,
  ]);
async function expectClean(): Promise<void> {
  expect((await reconcile({ db: books.db })).findings).toEqual([]);
}

test('a refused request is a row that costs nothing, counted as an error of its day, and nothing of the money moves', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  await postCharges(books.db, [JSON.stringify(charge(customer, 30))]);
  const before = await walletOf(customer);
  const row = refused(customer, {
    agent: 'a',
    conversation: 'c',
    end_user: 'u',
    client_request_id: 'mine',
    unlisted: 4_979,
    code: 'rate_limit_exceeded',
  });
  expect([...(await post(row, refused(customer, { model: 'other' })))]).toHaveLength(2);
  expect(await rowOf(row.request_id)).toMatchObject({
    ...{ status: 'rejected', kind: 'final', cost: 0, held: 0, tx_id: null, http_status: 402, attempts: 0, price_version: VERSION },
    ...{ agent: 'a', conversation: 'c', end_user: 'u', client_request_id: 'mine', flags: ['rate_limit_exceeded', 'unlisted:4979'] },
  });
  expect(await sumsOf(customer)).toEqual([
    { model: 'fake-model', requests: 1, errors: 0, cost: 30 },
    { model: 'fake-model', requests: 1, errors: 1, cost: 0 },
    { model: 'other', requests: 1, errors: 1, cost: 0 },
  ]);
  expect(await walletOf(customer)).toEqual(before);
  await expectClean();
});

test('the same batch again changes nothing, and says so', async () => {
  const customer = await newCustomer(books.db);
  const batch = [refused(customer), refused(customer)];
  expect((await post(...batch)).size).toBe(2);
  expect((await post(...batch)).size).toBe(0);
  expect(await sumsOf(customer)).toEqual([{ model: 'fake-model', requests: 2, errors: 2, cost: 0 }]);
});

test('a request that was charged stays what it was', async () => {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  const event = charge(customer, 30, { endpoint: '/chat/completions' });
  await postCharges(books.db, [JSON.stringify(event)]);
  expect((await post(refused(customer, { request_id: event.request_id }))).size).toBe(0);
  expect(await rowOf(event.request_id)).toMatchObject({ status: 'complete', cost: 30 });
  await expectClean();
});

test('tokens nobody knows, tokens of somebody else, and what comes an hour late are left out; the others are written', async () => {
  const [customer, other] = [await newCustomer(books.db), await newCustomer(books.db)];
  const late = `req_${(Date.now() - 2 * 3_600_000).toString(16).padStart(12, '0')}${'7'.repeat(20)}` as RefusedRequest['request_id'];
  const good = refused(customer);
  const written = await post(
    refused(customer, { token_id: newTokenId(customer.orgId) }),
    refused(customer, { token_id: other.tokenId }),
    refused(customer, { request_id: late }),
    good,
  );
  expect([...written]).toEqual([good.request_id]);
  await expectClean();
});

test('text that Postgres cannot store is written with what cannot be stored replaced', async () => {
  const customer = await newCustomer(books.db);
  const row = refused(customer, { model: 'a\0b\ud800"\\', end_user: `'); drop table usage_records; --` });
  await post(row);
  expect(await rowOf(row.request_id)).toMatchObject({ model: 'a\ufffdb\ufffd"\\', end_user: row.end_user });
});

test('written while charges of the same organizations are booked, nobody waits for ever and every sum is right', async () => {
  const customers = await Promise.all(Array.from({ length: 6 }, () => newCustomer(books.db)));
  for (const customer of customers) await give(books.db, customer, 1_000_000);
  const each = <Item>(make: (customer: Customer) => Item): Item[] => customers.flatMap((customer) => [make(customer), make(customer)]);
  const rounds = Array.from({ length: 12 }, (_, round) => {
    const turned = round % 2 === 0 ? customers : customers.toReversed();
    return [
      post(...turned.flatMap((customer) => [refused(customer, { model: 'b' }), refused(customer, { model: 'a' })])),
      postCharges(
        books.db,
        each((customer) => JSON.stringify(charge(customer, 5, { endpoint: '/chat/completions' }))),
      ),
    ];
  });
  await Promise.all(rounds.flat());
  const sums = await books.db.one<{ requests: number; errors: number }>(
    'select sum(requests)::int as requests, sum(errors)::int as errors from usage_rollups where org_id = any ($1::text[])',
    [customers.map(({ orgId }) => orgId)],
  );
  expect(sums).toEqual({ requests: 12 * 6 * 4, errors: 12 * 6 * 2 });
  await expectClean();
});

test('while the database is away they are counted as lost, and too many at once are not taken; nobody waits or throws', async () => {
  const customer = await newCustomer(books.db);
  const lost: number[] = [];
  let answer: (error: Error) => void = () => undefined;
  const away = { query: () => new Promise((_, reject) => (answer = reject)) } as unknown as Database;
  const desk = createRefusedDesk({
    db: away,
    priceVersion: () => VERSION,
    onWritten: () => expect.unreachable(),
    onLost: (count) => lost.push(count),
  });
  const batch = Array.from({ length: 900 }, () => refused(customer));
  expect([desk.take([]), desk.take(batch), desk.take(batch), desk.take(batch)]).toEqual([true, true, true, false]);
  for (let i = 0; i < 4; i++) {
    answer(new Error('away'));
    await new Promise((go) => setImmediate(go));
  }
  await desk.idle();
  expect(lost).toEqual([500, 500, 500, 300]);
});

test('what is written is told, once', async () => {
  const customer = await newCustomer(books.db);
  const told: string[] = [];
  const desk = createRefusedDesk({
    db: books.db,
    priceVersion: () => VERSION,
    onWritten: (rows) => told.push(...rows.map(({ request_id }) => request_id)),
    onLost: (_, cause) => expect.unreachable(String(cause)),
  });
  const rows = [refused(customer), refused(customer)];
  desk.take(rows);
  desk.take(rows);
  await desk.idle();
  expect(told.sort()).toEqual(rows.map(({ request_id }) => request_id).sort());
});
