import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AccountsContext } from '../../src/accounts/context.js';
import { createCodes } from '../../src/billing/createCodes.js';
import { codeDigest } from '../../src/domain/codes.js';
import { base62 } from '../../src/domain/ids.js';
import { readBalance } from '../../src/ledger/balance.js';
import { type Attempts, postRedemption } from '../../src/ledger/post.js';

import { type Books, findings, newCustomer, openBooks } from '../ledger/books.js';
import { asAdmin } from '../support/postgres.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks(8);
});
afterAll(async () => {
  expect(await findings(books.db)).toEqual([]);
  await books.close();
});

const PEPPER = 'a pepper for tests that is long enough to be one';
const FREELY: Attempts = { perHour: 100_000, failuresInARow: 100_000, pauseS: 1 };
const STRICTLY: Attempts = { perHour: 10, failuresInARow: 5, pauseS: 900 };

async function codesOf(count: number, amount = 1_000): Promise<string[]> {
  const ctx: AccountsContext = {
    db: books.db,
    actor: { kind: 'operator' },
    clock: { nowMs: () => Date.now() },
    pepper: PEPPER,
    project: { org: async () => 'projected', token: async () => 'projected', members: async () => 'projected' },
  };
  const input = { name: 'test', amount, count, validUntil: null, creditsLastS: null, forOrg: null, forNew: false };
  const made = await createCodes({ ctx, input });
  if (made.kind !== 'created') throw new Error(made.kind);
  return made.codes.map((code) => codeDigest(code, PEPPER));
}

const redeem = (orgId: string, digest: string, more: { key?: string; attempts?: Attempts; nowMs?: number; actor?: string } = {}) =>
  postRedemption(books.db, { orgId: orgId as never, digest, key: base62(22), actor: 'member:a', attempts: FREELY, ...more });

// B21
test('a thousand codes, fifty racers each, over eight connections: one winner per code, and the ledger is exact', async () => {
  const racers = await Promise.all(Array.from({ length: 50 }, () => newCustomer(books.db)));
  const codes = await codesOf(1_000);
  const wins = new Map<string, number>();
  for (const [at, digest] of codes.entries()) {
    const actor = `member:${at}`; // everybody has few tries behind them, so that it is codes that are raced for
    const answers = await Promise.all(racers.map(async ({ orgId }) => ({ orgId, answer: await redeem(orgId, digest, { actor }) })));
    const winners = answers.filter(({ answer }) => answer.kind === 'redeemed');
    expect(winners).toHaveLength(1);
    expect(answers.filter(({ answer }) => answer.kind === 'code_already_used')).toHaveLength(49);
    const orgId = winners[0]?.orgId ?? '';
    wins.set(orgId, (wins.get(orgId) ?? 0) + 1);
  }
  for (const { orgId } of racers) expect((await readBalance(books.db, orgId))?.avail).toBe((wins.get(orgId) ?? 0) * 1_000);
  const [total] = await books.db.query<Record<string, number>>(
    `select (select -balance from ledger_accounts where kind = 'promo') as given, (select sum(amount)::bigint from grants where kind = 'redeem') as granted,
      (select count(*)::int from grants where kind = 'redeem') as grants, (select count(*)::int from codes where used_at is not null) as used,
      (select sum(amount)::bigint from ledger_entries) as entries,
      (select count(*)::int from pg_stat_activity where datname = current_database() and backend_type = 'client backend') as connections`,
  );
  expect(total).toMatchObject({ given: 1_000_000, granted: 1_000_000, grants: 1_000, used: 1_000, entries: 0 });
  expect(total?.['connections']).toBeLessThanOrEqual(8);
}, 600_000);

test('asked again under the same key it is the same redemption; by anybody else the code is used up', async () => {
  const [first, second] = [await newCustomer(books.db), await newCustomer(books.db)];
  const [digest = ''] = await codesOf(1);
  const answers = await Promise.all([1, 2, 3].map(() => redeem(first.orgId, digest, { key: 'k' })));
  expect(answers.map((answer) => answer.kind)).toEqual(['redeemed', 'redeemed', 'redeemed']);
  expect(answers.filter((answer) => answer.kind === 'redeemed' && !answer.repeated)).toHaveLength(1);
  expect((await readBalance(books.db, first.orgId))?.avail).toBe(1_000);
  expect(await redeem(first.orgId, digest)).toMatchObject({ kind: 'code_already_used', usedBy: 'member:a' });
  expect(await redeem(second.orgId, digest, { key: 'k' })).toEqual({ kind: 'code_already_used', usedAtMs: null, usedBy: null });
});

test('a backend ended in the middle of redeeming: each code still gives its credits once', async () => {
  const customer = await newCustomer(books.db);
  const codes = await codesOf(60);
  let going = true;
  const killer = asAdmin(books.url, async (sql) => {
    while (going) {
      await sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'active' limit 1`);
      await new Promise((go) => setTimeout(go, 15));
    }
  });
  const kinds = await Promise.all(
    codes.map((digest) => {
      const key = base62(22);
      const attempt = async (): Promise<string> => redeem(customer.orgId, digest, { key }).then((answer) => answer.kind, attempt);
      return attempt();
    }),
  );
  going = false;
  await killer;
  expect(new Set(kinds)).toEqual(new Set(['redeemed']));
  expect((await readBalance(books.db, customer.orgId))?.avail).toBe(60_000);
});

// B23
test('ten tries an hour, and a pause after five failures in a row, for each actor and organization by itself', async () => {
  const customer = await newCustomer(books.db);
  const codes = await codesOf(12);
  const start = Date.now();
  const at = (seconds: number, digest: string, actor = 'member:b') =>
    redeem(customer.orgId, digest, { actor, attempts: STRICTLY, nowMs: start + seconds * 1_000 });
  const wrong = 'f'.repeat(64);
  for (let i = 0; i < 4; i++) expect(await at(i, wrong)).toEqual({ kind: 'code_not_found' });
  expect(await at(4, codes[0] ?? '')).toMatchObject({ kind: 'redeemed' });
  for (let i = 5; i < 10; i++) expect(await at(i, wrong)).toEqual({ kind: 'code_not_found' });
  expect(await at(10, codes[1] ?? '')).toEqual({ kind: 'too_many_attempts', waitMs: 3_590_000 }); // the tenth in this hour
  expect(await at(10, codes[1] ?? '', 'member:c')).toMatchObject({ kind: 'redeemed' });
  const elsewhere = await newCustomer(books.db);
  for (let i = 0; i < 5; i++) await redeem(elsewhere.orgId, wrong, { attempts: STRICTLY, nowMs: start + i * 1_000 });
  const again = (seconds: number) => redeem(elsewhere.orgId, codes[2] ?? '', { attempts: STRICTLY, nowMs: start + seconds * 1_000 });
  expect(await again(5)).toEqual({ kind: 'too_many_attempts', waitMs: 899_000 });
  expect(await again(903.999)).toEqual({ kind: 'too_many_attempts', waitMs: 1 });
  expect(await again(904)).toMatchObject({ kind: 'redeemed' });
});

test('a hundred guesses at once are counted one by one', async () => {
  const customer = await newCustomer(books.db);
  const guesses = await Promise.all(
    Array.from({ length: 100 }, (_, i) => redeem(customer.orgId, String(i).padStart(64, '0'), { attempts: STRICTLY })),
  );
  expect(guesses.filter((answer) => answer.kind === 'code_not_found')).toHaveLength(5);
  expect(guesses.filter((answer) => answer.kind === 'too_many_attempts')).toHaveLength(95);
});
