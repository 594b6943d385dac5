import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId, newTokenId, shardOf, type TokenId } from '../../src/domain/ids.js';
import { createCycles } from '../../src/ledger/cycles.js';
import { postCharges } from '../../src/ledger/post.js';
import { projectMembers, projectOrg, projectToken, repairProjections } from '../../src/ledger/project.js';
import { readSnapshots } from '../../src/ledger/snapshot.js';
import { type Books, batch, type Customer, charge, findings, give, newCustomer, openBooks } from './books.js';

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

const PERSON = 'usr_somebody';

async function member(quota: number | null, terms: { timeZone?: string } = {}): Promise<Customer> {
  const customer = await newCustomer(books.db, terms);
  await give(books.db, customer, 1_000);
  await books.db.query("insert into org_members (org_id, person_id, role_id) values ($1, $2, 'developer')", [customer.orgId, PERSON]);
  await books.db.query('update tokens set owner_id = $2 where token_id = $1', [customer.tokenId, PERSON]);
  await projectOrg(books.db, store, customer.orgId);
  await projectToken(books.db, store, customer.tokenId);
  await setQuota(customer, quota);
  return customer;
}

async function setQuota({ orgId }: Customer, quota: number | null): Promise<void> {
  await books.db.query('update org_members set monthly_quota = $2 where org_id = $1', [orgId, quota]);
  expect(await projectMembers(books.db, store, orgId)).toEqual({ kind: 'projected' });
}

async function another({ orgId }: Customer, ownerId: string | null = PERSON): Promise<TokenId> {
  const tokenId = newTokenId(orgId);
  const row = [tokenId, orgId, ownerId, '0'.repeat(64)];
  await books.db.query("insert into tokens (token_id, org_id, owner_id, name, digest) values ($1, $2, $3, 'test', $4)", row);
  return tokenId;
}

/** Tries to hold so much, and gives it back. */
async function hold(tokenId: TokenId, amount: number) {
  const known = await store.lookup(tokenId);
  if (known.kind !== 'found') throw new Error(known.kind);
  const { token, org } = known;
  const one = { requestId: newRequestId(), orgId: org.orgId, tokenId };
  const versions = { digest: token.digest, tokenVersion: token.version, orgVersion: org.version };
  const more = { tokens: 1, leaseMs: 20_000, note: '{}', idempotencyKey: null };
  const held = await store.hold({ ...one, ...versions, ...more, amount: microCredits(amount) });
  await store.settle({ ...one, kind: 'final', cost: microCredits(0), event: null });
  return held.kind === 'short' ? `${held.scope} ${held.available}` : held.kind;
}

test('a quota is in force as soon as it is told, over what the tokens have used this month', async () => {
  const customer = await member(null);
  const second = await another(customer);
  await projectToken(books.db, store, second);
  await postCharges(books.db, batch(charge(customer, 30)));
  expect(await hold(second, 500)).toBe('held');
  await setQuota(customer, 100);
  for (const tokenId of [customer.tokenId, second]) expect(await hold(tokenId, 71)).toBe('member 70');
  await setQuota(customer, 120);
  expect(await hold(second, 71)).toBe('held');
  await setQuota(customer, null);
  expect(await hold(second, 500)).toBe('held');
});

test('a token that is made, changes hands or is revoked is told, and so are the others', async () => {
  const customer = await member(100);
  const second = await another(customer);
  await projectToken(books.db, store, second);
  await postCharges(books.db, batch(charge({ ...customer, tokenId: second }, 40)));
  await projectToken(books.db, store, second);
  expect(await hold(customer.tokenId, 61)).toBe('member 60');

  await books.db.query("update tokens set status = 'revoked' where token_id = $1", [second]);
  await projectToken(books.db, store, second);
  expect([await hold(second, 1), await hold(customer.tokenId, 61)]).toEqual(['token_revoked', 'member 60']);

  await books.db.query('update tokens set owner_id = null where token_id = $1', [second]);
  await projectMembers(books.db, store, customer.orgId);
  expect(await hold(customer.tokenId, 100)).toBe('held');
});

test('the terms of the token itself, and with them its ETag, stay as they are when another one comes', async () => {
  const customer = await member(100);
  const row = () => books.db.one('select terms_version, updated_at from tokens where token_id = $1', [customer.tokenId]);
  const before = await row();
  await projectToken(books.db, store, await another(customer));
  expect(await row()).toEqual(before);
  await books.db.query('update tokens set concurrency = 3 where token_id = $1', [customer.tokenId]);
  await projectToken(books.db, store, customer.tokenId);
  expect(await store.lookup(customer.tokenId)).toMatchObject({ token: { concurrency: 3, member: { id: PERSON, cap: 100 } } });
});

test('what a crash between writing and telling left behind is repaired', async () => {
  const customer = await member(100);
  await another(customer);
  await books.db.query('update org_members set monthly_quota = 10 where org_id = $1', [customer.orgId]);
  expect(await hold(customer.tokenId, 11)).toBe('held');
  await repairProjections(books.db, store);
  expect(await hold(customer.tokenId, 11)).toBe('member 10');
  const { length } = await books.db.query('select from quota_shares where shared_version < version');
  const untold = await books.db.query('select from member_terms where told_version < version');
  expect([length, untold.length]).toEqual([0, 0]);
});

test('a store that was lost is loaded with it', async () => {
  const customer = await member(100);
  const second = await another(customer);
  await projectToken(books.db, store, second);
  await postCharges(books.db, batch(charge(customer, 25)));
  const shard = shardOf(customer.orgId);
  const state = async () => (await store.shards()).find((one) => one.shard === shard) as Awaited<ReturnType<CreditStore['shards']>>[number];
  await store.transition(shard, await state(), 'filling');
  await store.load(shard, await readSnapshots(books.db, shard, '', 1_000));
  await store.transition(shard, await state(), 'open');
  expect(await hold(second, 76)).toBe('member 75');
});

test('the month ends in the time zone of the organization, and the quota is there again', async () => {
  const customer = await member(100, { timeZone: 'Asia/Kolkata' });
  await postCharges(books.db, batch(charge(customer, 100)));
  await projectToken(books.db, store, customer.tokenId);
  expect(await hold(customer.tokenId, 1)).toBe('member 0');
  const row = await books.db.one<{ ends: Date }>("select month_end(now(), 'Asia/Kolkata') as ends");
  const ends = row?.ends.getTime() ?? 0;
  const at = (nowMs: number) => createCycles({ db: books.db, store, owner: 'a', clock: { nowMs: () => nowMs } }).step();
  await at(ends - 1);
  expect(await hold(customer.tokenId, 1)).toBe('member 0');
  await at(ends);
  expect(await hold(customer.tokenId, 100)).toBe('held');
});

test('many changes at once neither wait for each other in a circle nor are lost', async () => {
  const customer = await member(100);
  const tokens = await Promise.all(Array.from({ length: 8 }, () => another(customer)));
  await Promise.all(
    tokens.map(async (tokenId, at) => {
      if (at % 2 === 0) await books.db.query("update tokens set status = 'revoked' where token_id = $1", [tokenId]);
      if (at === 3) await setQuota(customer, 60);
      await projectToken(books.db, store, tokenId);
    }),
  );
  await repairProjections(books.db, store);
  const known = await store.lookup(customer.tokenId);
  expect(known).toMatchObject({ token: { member: { cap: 60, tokens: expect.arrayContaining(tokens) } } });
  expect(await hold(tokens[1] as TokenId, 61)).toBe('member 60');
});

test('of more than a hundred tokens those beyond may spend nothing, rather than more than the quota', async () => {
  const customer = await member(null);
  for (let i = 0; i < 100; i++) await another(customer);
  await setQuota(customer, 50);
  const rows = await books.db.query<{ id: TokenId; cap: number; n: number }>(
    'select token_id as id, cap, cardinality(tokens) as n from member_terms where org_id = $1',
    [customer.orgId],
  );
  const beyond = rows.filter(({ cap }) => cap === 0);
  expect([rows.length, beyond.length, beyond[0]?.n]).toEqual([101, 1, 1]);
  expect(await hold(beyond[0]?.id as TokenId, 1)).toBe('member 0');
  expect(await hold(rows.find(({ cap }) => cap > 0)?.id as TokenId, 50)).toBe('held');
});
