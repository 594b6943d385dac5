import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createRedisStore } from '../../src/credits/redis/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId, shardOf } from '../../src/domain/ids.js';
import { createHeal } from '../../src/ledger/heal.js';
import { projectOrg, projectToken } from '../../src/ledger/project.js';
import { createScrub } from '../../src/ledger/scrub.js';
import { command, type RedisServer, startRedis } from '../support/redis.js';
import { type Books, type Customer, give, newCustomer, openBooks } from './books.js';

let books: Books;
let redis: RedisServer;
let store: CreditStore;
beforeAll(async () => {
  expect(inject('databaseUrl')).toBeTruthy();
  books = await openBooks();
  redis = await startRedis();
  store = createRedisStore({ url: redis.url });
  await createHeal({ db: books.db, store, owner: 'test', reholdMs: 0 }).step();
});
afterAll(async () => {
  await store.close();
  await redis.stop();
  await books.close();
});

async function customerWithHold(): Promise<Customer> {
  const customer = await newCustomer(books.db);
  await give(books.db, customer, 1_000);
  await projectOrg(books.db, store, customer.orgId);
  await projectToken(books.db, store, customer.tokenId);
  const known = await store.lookup(customer.tokenId);
  if (known.kind !== 'found') throw new Error('the token was not projected');
  const held = await store.hold({
    requestId: newRequestId(),
    tokenId: customer.tokenId,
    orgId: customer.orgId,
    digest: known.token.digest,
    tokenVersion: known.token.version,
    orgVersion: known.org.version,
    amount: microCredits(100),
    tokens: 1,
    leaseMs: 60_000,
    note: '{}',
    idempotencyKey: null,
  });
  expect(held.kind).toBe('held');
  return customer;
}

/** Whole walks, until one finds nothing to do. */
async function scrubAll(): Promise<readonly string[]> {
  const scrub = createScrub({ db: books.db, store });
  const repaired: string[] = [];
  for (let i = 0; i < 20; i++) repaired.push(...(await scrub.step()).repaired);
  return repaired;
}

const damages: readonly (readonly [string, (key: string) => readonly string[][]])[] = [
  ['evicted', (key) => [['DEL', key]]],
  [
    'of another type',
    (key) => [
      ['DEL', key],
      ['SET', key, 'nonsense'],
    ],
  ],
  ['nonsense', (key) => [['HSET', key, 'balance', 'NaN|1e3|-5|x', 'sums', '-0|abc', 'terms', '']]],
];

test.each(damages)('an organization whose key is %s is told again, with its open holds, and nobody else is', async (_, damage) => {
  const [hurt, well] = [await customerWithHold(), await customerWithHold()];
  for (const one of damage(`{${shardOf(hurt.orgId)}}:org:${hurt.orgId}`)) await command(redis.port, ...one);
  const seen = await store.inspect(hurt.orgId);
  expect(seen === undefined || 'kind' in seen).toBe(true);
  expect(await scrubAll()).toEqual([hurt.tokenId]);
  for (const customer of [hurt, well]) {
    expect(await store.inspect(customer.orgId)).toMatchObject({ held: 100, spendable: 900, balance: { avail: 1_000 } });
  }
});

test.each(damages)('a token whose key is %s is known again', async (_, damage) => {
  const customer = await customerWithHold();
  for (const one of damage(`{${shardOf(customer.orgId)}}:token:${customer.tokenId}`)) await command(redis.port, ...one);
  expect((await store.lookup(customer.tokenId)).kind).not.toBe('found');
  expect(await scrubAll()).toContain(customer.tokenId);
  expect((await store.lookup(customer.tokenId)).kind).toBe('found');
});
