import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postCharges } from '../../src/ledger/post.js';
import { rollMonths, rollWindows } from '../../src/ledger/windows.js';
import { type Books, batch, charge, findings, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(async () => {
  expect(await findings(books.db)).toEqual([]);
  await books.close();
});

const endOf = async (unit: 'month' | 'week' | 'day', at: string, zone: string): Promise<string | undefined> =>
  (await books.db.one<{ ends: Date }>(`select ${unit}_end($1::timestamptz, $2) as ends`, [at, zone]))?.ends.toISOString();

describe('the end of a month, week or day is where the organization is', () => {
  test.each([
    ['2026-11-21T12:00:00Z', 'UTC', '2026-12-01T00:00:00.000Z'],
    // Summer time has ended between the day and the end of its month: the offset at the end counts.
    ['2026-10-01T12:00:00Z', 'Europe/Berlin', '2026-10-31T23:00:00.000Z'],
    ['2026-03-01T00:00:00Z', 'Europe/Berlin', '2026-03-31T22:00:00.000Z'],
    ['2026-03-05T00:00:00Z', 'America/Los_Angeles', '2026-04-01T07:00:00.000Z'],
    ['2026-11-01T06:59:59Z', 'America/Los_Angeles', '2026-11-01T07:00:00.000Z'],
    ['2026-11-01T07:00:00Z', 'America/Los_Angeles', '2026-12-01T08:00:00.000Z'],
    ['2026-11-30T18:29:59Z', 'Asia/Kolkata', '2026-11-30T18:30:00.000Z'],
    ['2026-11-30T18:30:00Z', 'Asia/Kolkata', '2026-12-31T18:30:00.000Z'],
    ['2028-02-29T23:59:59Z', 'UTC', '2028-03-01T00:00:00.000Z'],
    ['2026-12-31T23:30:00Z', 'Europe/Berlin', '2027-01-31T23:00:00.000Z'],
  ])('the month of %s in %s ends at %s', async (at, zone, ends) => {
    expect(await endOf('month', at, zone)).toBe(ends);
  });

  test.each([
    ['2026-10-25T00:30:00Z', 'Europe/Berlin', '2026-10-25T23:00:00.000Z'], // a day of 25 hours
    ['2026-03-29T00:30:00Z', 'Europe/Berlin', '2026-03-29T22:00:00.000Z'], // a day of 23 hours
    ['2026-03-08T12:00:00Z', 'America/Los_Angeles', '2026-03-09T07:00:00.000Z'],
    ['2026-11-21T18:29:59Z', 'Asia/Kolkata', '2026-11-21T18:30:00.000Z'],
  ])('the day of %s in %s ends at %s', async (at, zone, ends) => {
    expect(await endOf('day', at, zone)).toBe(ends);
  });

  test('a week ends with its Sunday', async () => {
    expect(await endOf('week', '2026-10-25T12:00:00Z', 'Europe/Berlin')).toBe('2026-10-25T23:00:00.000Z');
    expect(await endOf('week', '2026-10-26T12:00:00Z', 'Europe/Berlin')).toBe('2026-11-01T23:00:00.000Z');
  });
});

async function month(orgId: string) {
  return books.db.one<{ month: string; month_spent: number; month_ends_at: Date; version: number; untold_version: number | null }>(
    'select month, month_spent, month_ends_at, version, untold_version from org_balances where org_id = $1',
    [orgId],
  );
}

test.each([
  ['America/Los_Angeles', '2199-11-01T06:59:59.999Z', '2199-11-01T07:00:00Z', '2199-12-01T08:00:00.000Z'],
  ['Asia/Kolkata', '2199-10-31T18:29:59.999Z', '2199-10-31T18:30:00Z', '2199-11-30T18:30:00.000Z'],
  ['Europe/Berlin', '2199-10-31T22:59:59.999Z', '2199-10-31T23:00:00Z', '2199-11-30T23:00:00.000Z'],
])('the month of %s starts anew at local midnight, not a millisecond before, and once', async (timeZone, before, at, ends) => {
  const customer = await newCustomer(books.db, { timeZone });
  const { orgId } = customer;
  await rollMonths(books.db, { nowMs: Date.parse('2199-10-15T12:00:00Z'), orgId });
  await books.db.query('update org_balances set untold_version = null where org_id = $1', [orgId]);
  const october = await month(orgId);
  expect(october).toMatchObject({ month: '2199-10-01' });
  expect(await rollMonths(books.db, { nowMs: Date.parse(before), orgId })).toEqual([]);
  expect(await month(orgId)).toEqual(october);
  const both = await Promise.all([1, 2].map(() => rollMonths(books.db, { nowMs: Date.parse(at), orgId })));
  expect(both.flat()).toEqual([orgId]);
  const version = (october?.version ?? 0) + 1;
  expect(await month(orgId)).toEqual({
    month: '2199-11-01',
    month_spent: 0,
    month_ends_at: new Date(ends),
    version,
    untold_version: version,
  });
});

test('what was spent counts until its month ends, and a late row of the old month does not count in the new one', async () => {
  const customer = await newCustomer(books.db, { timeZone: 'Europe/Berlin' });
  await give(books.db, customer, 1_000);
  await postCharges(books.db, batch(charge(customer, 100)));
  await rollMonths(books.db, { orgId: customer.orgId });
  expect(await month(customer.orgId)).toMatchObject({ month_spent: 100 });
  const next = Date.now() + 40 * 86_400_000;
  expect(await rollMonths(books.db, { orgId: customer.orgId, nowMs: next })).toEqual([customer.orgId]);
  expect(await month(customer.orgId)).toMatchObject({ month_spent: 0 });
  await postCharges(books.db, batch(charge(customer, 50)), next);
  expect(await month(customer.orgId)).toMatchObject({ month_spent: 0 });
});

test('the windows of a token start anew each by itself, and its total never does', async () => {
  const customer = await newCustomer(books.db, { timeZone: 'Asia/Kolkata' });
  await give(books.db, customer, 1_000);
  await books.db.query('update tokens set quota_daily = 500, quota_weekly = 600, quota_monthly = 700 where token_id = $1', [
    customer.tokenId,
  ]);
  await postCharges(books.db, batch(charge(customer, 100)));
  const { tokenId } = customer;
  const use = () =>
    books.db.one<{ total: number; daily: number; weekly: number; monthly: number; daily_ends_at: Date }>(
      'select total, daily, weekly, monthly, daily_ends_at from token_use where token_id = $1',
      [tokenId],
    );
  expect(await rollWindows(books.db, { tokenId })).toEqual([]);
  const dayEndsAt = (await use())?.daily_ends_at.getTime() ?? 0;
  expect(await rollWindows(books.db, { tokenId, nowMs: dayEndsAt - 1 })).toEqual([]);
  const both = await Promise.all([1, 2].map(() => rollWindows(books.db, { tokenId, nowMs: dayEndsAt })));
  expect(both.flat()).toEqual([tokenId]);
  expect(await use()).toMatchObject({ total: 100, daily: 0, daily_ends_at: new Date(dayEndsAt + 86_400_000) });
  await rollWindows(books.db, { tokenId, nowMs: dayEndsAt + 40 * 86_400_000 });
  expect(await use()).toMatchObject({ total: 100, daily: 0, weekly: 0, monthly: 0 });
  const marked = await books.db.one<{ projected_version: number }>('select projected_version from tokens where token_id = $1', [tokenId]);
  expect(marked).toEqual({ projected_version: 0 });
});

test('an organization that moves to another time zone keeps its month, which ends by the new clock', async () => {
  const { orgId } = await newCustomer(books.db, { timeZone: 'Europe/Berlin' });
  await rollMonths(books.db, { orgId, nowMs: Date.parse('2199-10-15T12:00:00Z') });
  await books.db.query("update organizations set time_zone = 'America/Los_Angeles' where org_id = $1", [orgId]);
  expect(await month(orgId)).toMatchObject({ month: '2199-10-01', month_ends_at: new Date('2199-11-01T07:00:00Z') });
});
