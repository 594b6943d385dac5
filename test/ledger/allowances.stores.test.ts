import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { priceEvents } from '../../src/billing/priceEvents.js';
import type { CreditStore } from '../../src/credits/store.js';
import { type Database, openDatabase } from '../../src/db/client.js';
import { startEmbeddedPostgres } from '../../src/db/embedded/start.js';
import { migrate } from '../../src/db/migrate.js';
import type { Breakdown } from '../../src/domain/charge.js';
import { newTokenId } from '../../src/domain/ids.js';
import type { MeterPrice } from '../../src/domain/prices.js';
import { chargeMeters, type Metered } from '../../src/ledger/meter.js';
import { projectOrg } from '../../src/ledger/project.js';
import { buildBook, type MeterEntry, type PriceBook } from '../../src/pricing/book.js';
import { recompute } from '../../src/pricing/charge.js';
import { openStore } from '../api/harness.js';
import { type Customer, findings, give, newCustomer, openBooks } from './books.js';

const one = { label: 'x', unit: 'trace', critical: true, free: false, stepSeconds: 0, per: 1 };
const bookOf = (meters: readonly MeterPrice[]): PriceBook =>
  buildBook({
    credits: { base: '200', value: null },
    groups: [{ name: 'vip', times: '0.7' }],
    models: [],
    meters,
    ...{ unpriced: { kind: 'reject' }, defaults: false, demo: true, partBounds: { image: null, audio: null, file: null } },
  });
const book = bookOf([
  { ...one, name: 'trace', amount: '2', per: 1000, allowance: 10_000 },
  { ...one, name: 'third', amount: '1', per: 3_000_000, allowance: 100 },
  { ...one, name: 'call', unit: 'minute', amount: '3', per: 60, stepSeconds: 60, allowance: 600 },
  { ...one, name: 'query', amount: '1' },
]);
const MONTH_AT = Date.parse('2026-11-15T12:00:00Z');

interface Sent {
  readonly meter: string;
  readonly quantity: number;
  readonly id?: string;
  readonly atMs?: number;
}

let ids = 0;
interface Shop {
  readonly db: Database;
  readonly store: CreditStore;
}

/** A batch as the API sends it on. */
async function send(shop: Shop, customer: Customer, sent: readonly Sent[], more: { book?: PriceBook; group?: string } = {}) {
  const events = sent.map(({ meter, quantity, id, atMs = MONTH_AT }) => ({
    ...{ eventId: id ?? `e-${++ids}`, action: meter, quantity, tokenId: customer.tokenId, agent: null, conversation: null, atMs },
    meter: (more.book ?? book).meter(meter) as MeterEntry,
  }));
  const org = { org_id: customer.orgId, price_group: more.group ?? 'default' };
  const priced = priceEvents({ org, book: more.book ?? book, events });
  if (!priced) throw new Error('no such group');
  return chargeMeters(shop.db, shop.store, { orgId: customer.orgId, events: priced, nowMs: MONTH_AT });
}

const booked = (answer: Metered) => {
  if (answer.kind !== 'booked') throw new Error(JSON.stringify(answer));
  return [...answer.events.values()];
};
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const usedOf = async ({ db }: Shop, { orgId }: Customer) =>
  (
    await db.query<{ use: string }>("select meter || ' ' || month || ' ' || used as use from allowance_use where org_id = $1 order by 1", [
      orgId,
    ])
  ).map(({ use }) => use);

async function customerOf(shop: Shop, credits = 100, timeZone = 'UTC'): Promise<Customer> {
  const customer = await newCustomer(shop.db, { timeZone });
  if (credits > 0) await give(shop.db, customer, credits * 1_000_000);
  await projectOrg(shop.db, shop.store, customer.orgId);
  return customer;
}

const openEmbedded = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-allowances-'));
  const server = await startEmbeddedPostgres({ dataDir: folder });
  const db = openDatabase({ url: server.url });
  await migrate(db, { owner: 'test' });
  const close = async () => {
    await db.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { db, close };
};

describe.each([
  ['Postgres', () => openBooks(12)],
  ['the embedded database', openEmbedded],
])('a monthly allowance on %s', (_, open) => {
  let shop: Shop;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const opened = await open();
    shop = { db: opened.db, store: await openStore() };
    await shop.db.query("select ensure_usage_partitions('2026-10-01T00:00:00Z', 3)");
    close = opened.close;
  }, 120_000);
  afterAll(async () => {
    expect(await findings(shop.db)).toEqual([]);
    await close();
  });

  test('fifty racers over the border pay for exactly what is beyond it', async () => {
    const customer = await customerOf(shop, 1_000);
    const answers = await Promise.all(Array.from({ length: 50 }, () => send(shop, customer, [{ meter: 'trace', quantity: 333 }])));
    const events = answers.flatMap(booked);
    expect(sum(events.map(({ free }) => free))).toBe(10_000);
    // 2,000 µcr for each of the 6,650 beyond: nothing is lost to rounding at this price.
    expect(sum(events.map(({ cost }) => cost))).toBe((50 * 333 - 10_000) * 2_000);
    expect(await usedOf(shop, customer)).toEqual(['trace 2026-11-01 10000']);
    const state = await shop.store.inspect(customer.orgId);
    expect(state).toMatchObject({ spendable: 1_000_000_000 - 6_650 * 2_000, held: 0, pend: 0 });
  });

  test('an event that crosses the border is partly free, and its row alone makes its charge', async () => {
    const customer = await customerOf(shop);
    const batch = [97, 2, 5, 4].map((quantity) => ({ meter: 'third', quantity }));
    const events = booked(await send(shop, customer, batch, { group: 'vip' }));
    // A third of a micro-credit each, times 0.7, rounded up once per event.
    expect(events.map(({ free, cost }) => [free, cost])).toEqual([
      [97, 0],
      [2, 0],
      [1, Math.ceil((4 * 0.7) / 3)],
      [0, Math.ceil((4 * 0.7) / 3)],
    ]);
    const rows = await shop.db.query<{ cost: number; breakdown: Breakdown }>(
      'select cost, breakdown from usage_records where org_id = $1 order by request_id',
      [customer.orgId],
    );
    for (const row of rows) expect(recompute(row.breakdown)).toBe(row.cost);
    expect(rows.map(({ breakdown }) => breakdown.lines).find((lines) => lines.length === 2)).toEqual([
      { meter: 'third', quantity: 1, rate: '0' },
      { meter: 'third', quantity: 4, rate: '1/3' },
    ]);
  });

  test('time is rounded up to its step first, and sold by the second beyond the allowance', async () => {
    const customer = await customerOf(shop);
    const events = booked(
      await send(shop, customer, [
        { meter: 'call', quantity: 541 },
        { meter: 'call', quantity: 61 },
      ]),
    );
    expect(events.map(({ free, cost }) => [free, cost])).toEqual([
      [600, 0],
      [0, 6_000_000],
    ]);
  });

  test('a repeated event uses nothing, alone, in its batch or at once', async () => {
    const customer = await customerOf(shop);
    const same = { meter: 'trace', quantity: 4_000, id: `same-${++ids}` };
    await send(shop, customer, [same, same]);
    await Promise.all(Array.from({ length: 10 }, () => send(shop, customer, [same])));
    expect(await usedOf(shop, customer)).toEqual(['trace 2026-11-01 4000']);
    expect(booked(await send(shop, customer, [{ meter: 'trace', quantity: 6_001 }]))).toMatchObject([{ free: 6_000, cost: 2_000 }]);
  });

  test('months are those of the organization, by when the event happened', async () => {
    const customer = await customerOf(shop, 100, 'Asia/Kolkata');
    const midnight = Date.parse('2026-10-31T18:30:00Z');
    const late = [midnight - 1, midnight].map((atMs) => ({ meter: 'trace', quantity: 10_000, atMs }));
    expect(booked(await send(shop, customer, late)).map(({ cost }) => cost)).toEqual([0, 0]);
    expect(await usedOf(shop, customer)).toEqual(['trace 2026-10-01 10000', 'trace 2026-11-01 10000']);
  });

  test('what is free needs no credits; what is refused uses none of the allowance', async () => {
    const poor = await customerOf(shop, 0);
    expect(booked(await send(shop, poor, [{ meter: 'trace', quantity: 9_999 }]))[0]?.cost).toBe(0);
    expect(await send(shop, poor, [{ meter: 'trace', quantity: 2 }])).toMatchObject({ kind: 'short', scope: 'balance', required: 2_000 });
    expect(await usedOf(shop, poor)).toEqual(['trace 2026-11-01 9999']);
    expect(await shop.store.inspect(poor.orgId)).toMatchObject({ held: 0, spendable: 0 });
  });

  test('a higher allowance holds at once, a lower one takes nothing back', async () => {
    const customer = await customerOf(shop);
    const offer = (allowance: number) => ({ book: bookOf([{ ...one, name: 'trace', amount: '2', per: 1000, allowance }]) });
    const free = async (allowance: number, quantity: number) =>
      booked(await send(shop, customer, [{ meter: 'trace', quantity }], offer(allowance)))[0]?.free;
    expect([await free(10, 15), await free(12, 15), await free(5, 15), await free(20, 15)]).toEqual([10, 2, 0, 8]);
  });

  test('a token of somebody else books nothing at all', async () => {
    const customer = await customerOf(shop);
    const stranger = { ...customer, tokenId: newTokenId(customer.orgId) };
    await expect(send(shop, stranger, [{ meter: 'trace', quantity: 20_000 }])).rejects.toThrow();
    expect(await usedOf(shop, customer)).toEqual([]);
  });

  test('reconcile finds a counter that does not follow from the rows', async () => {
    const customer = await customerOf(shop);
    await send(shop, customer, [{ meter: 'trace', quantity: 12 }]);
    const count = (by: number) => shop.db.query('update allowance_use set used = used + $2 where org_id = $1', [customer.orgId, by]);
    for (const by of [5, -7]) {
      await count(by);
      expect((await findings(shop.db)).join()).toContain('free units of trace');
      await count(-by);
    }
    const [row] = await shop.db.query<{ breakdown: string }>('select breakdown::text from usage_records where org_id = $1', [
      customer.orgId,
    ]);
    const become = (breakdown: string) =>
      shop.db.query('update usage_records set breakdown = $2::text::json where org_id = $1', [customer.orgId, breakdown]);
    for (const wrong of ['[]', '{"lines":{}}', '{"lines":[7]}', '{"times":"1","lines":[{"meter":"trace","quantity":"many","rate":"0"}]}']) {
      await become(wrong);
      expect((await findings(shop.db)).join(), wrong).toContain('free units of trace');
    }
    await become(row?.breakdown ?? '');
    expect(await findings(shop.db)).toEqual([]);
  });

  test('the database prices as the book does, to the last digit', async () => {
    const cases = Array.from({ length: 200 }, (_, i) => ({
      quantity: (i * 7919 ** 2) % 1_000_003,
      rate: `${i * 37 + 1}/${(i % 17) * 3 + 1}`,
      times: `${i + 1}/7`,
    }));
    const rows = await shop.db.query<{ cost: number }>(
      'select metered_cost(quantity, rate, times) as cost from rows from (unnest($1::bigint[]), unnest($2::text[]), unnest($3::text[])) c (quantity, rate, times)',
      [cases.map(({ quantity }) => quantity), cases.map(({ rate }) => rate), cases.map(({ times }) => times)],
    );
    expect(rows.map(({ cost }) => cost)).toEqual(
      cases.map(({ quantity, rate, times }) => Number(recompute({ lines: [{ meter: 'x', quantity, rate }], times }))),
    );
  });
});
