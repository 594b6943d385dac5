// How many charges per second one connection books: rows, grants, entries, rollups and projections included; and how long
// `farebox reconcile` takes over all of them. `node --import tsx bench/drain.ts [batches]`, 44 batches make a million rows;
// TEST_DATABASE_URL=… to measure a server with your own settings.

import { type Database, openDatabase } from '../src/db/client.js';
import { newOrgId, newTokenId } from '../src/domain/ids.js';
import { postCharges, postGrant } from '../src/ledger/post.js';
import { reconcile } from '../src/ledger/reconcile.js';
import { freshDatabase, startPostgres } from '../test/support/postgres.js';
import { type Customer, chargeOf } from './charges.js';

const batches = Number(process.argv[2] ?? 12);
const server = await startPostgres();
const database = await freshDatabase(server.url);
const db = openDatabase({ url: database.url, max: 1 });

console.log('| batch | organizations | charges/s | ms/batch | repeated, charges/s |');
console.log('|---|---|---|---|---|');
for (const [size, orgs] of [
  [2_000, 1],
  [5_000, 1],
  [5_000, 50],
  [5_000, 500],
  [5_000, 5_000],
] as const) {
  const customers = await makeCustomers(db, orgs);
  await measure(customers, size, 2);
  const fresh = await measure(customers, size, batches);
  console.log(`| ${size} | ${orgs} | ${fresh.rate} | ${fresh.ms} | ${fresh.again} |`);
}
await db.close();
await reconcileAll();
await database.drop();
await server.stop();

async function reconcileAll(): Promise<void> {
  const reader = openDatabase({ url: database.url, max: 1, timeoutMs: 600_000 });
  const rows = await reader.one<{ count: number }>('select count(*) as count from usage_records');
  const started = performance.now();
  const { checked, findings } = await reconcile({ db: reader });
  const seconds = (performance.now() - started) / 1000;
  const kinds = [...new Set(findings.map((one) => one.check))];
  console.log(
    `\nreconcile: ${rows?.count} rows, ${Object.keys(checked).length} checks, ${seconds.toFixed(1)} s; differences in: ${kinds.join(', ') || 'nothing'}`,
  );
  await reader.close();
}

async function measure(customers: readonly Customer[], size: number, times: number): Promise<{ rate: number; ms: number; again: number }> {
  const texts = Array.from({ length: times }, () => Array.from({ length: size }, (_, i) => event(customers, i)));
  const started = performance.now();
  for (const text of texts) await postCharges(db, text);
  const spent = performance.now() - started;
  const repeated = performance.now();
  for (const text of texts.slice(0, 3)) await postCharges(db, text);
  const spentAgain = performance.now() - repeated;
  const rate = (count: number, ms: number): number => Math.round((count * size * 1000) / ms);
  return { rate: rate(times, spent), ms: Math.round(spent / times), again: rate(Math.min(3, times), spentAgain) };
}

async function makeCustomers(to: Database, count: number): Promise<Customer[]> {
  const customers = Array.from({ length: count }, () => newOrgId()).map((orgId) => ({ orgId, tokenId: newTokenId(orgId) }));
  const orgs = customers.map((one) => one.orgId);
  await to.query("insert into organizations (org_id, name) select id, 'bench' from unnest($1::text[]) id", [orgs]);
  await to.query(
    "insert into tokens (token_id, org_id, name, digest) select t, o, 'bench', repeat('0', 64) from unnest($1::text[], $2::text[]) x (t, o)",
    [customers.map((one) => one.tokenId), orgs],
  );
  for (const { orgId } of customers) {
    await postGrant(to, { orgId, key: `a:${orgId}`, kind: 'trial', amount: 5_000_000, category: 'promo', source: 'promo' });
    await postGrant(to, { orgId, key: `b:${orgId}`, kind: 'topup', amount: 1e12, category: 'paid', source: 'cash:manual' });
  }
  return customers;
}

function event(customers: readonly Customer[], i: number): string {
  const customer = customers[i % customers.length] ?? customers[0];
  if (!customer) throw new Error('no customers');
  return chargeOf(customer, { model: i % 3 === 0 ? 'gpt-4o' : 'gpt-4o-mini', stream: i % 2 === 0, endUser: 'user-1' });
}
