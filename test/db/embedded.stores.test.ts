import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded/start.js';
import { migrate } from '../../src/db/migrate.js';
import { readBalance } from '../../src/ledger/balance.js';
import { postCharges } from '../../src/ledger/post.js';
import { letGoMonths } from '../../src/ledger/retention.js';
import { batch, charge, findings, give, newCustomer } from '../ledger/books.js';

let folder: string;
let server: EmbeddedPostgres;
let db: Database;
const said: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'farebox-embedded-'));
  server = await startEmbeddedPostgres({ dataDir: folder, onProgress: (sentence) => said.push(sentence) });
  db = openDatabase({ url: server.url });
  await migrate(db, { owner: 'test' });
}, 120_000);
afterAll(async () => {
  await db.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('says what a person is waiting for', () => {
  expect(said).toEqual(['Preparing the embedded database (first start, a few seconds) …']);
});

test('many statements at once, some of them wrong, each get their own answer', async () => {
  const answers = await Promise.allSettled(
    Array.from({ length: 60 }, (_, i) => (i % 7 === 3 ? db.query('select 1 / 0') : db.query('select $1::bigint as i', [i]))),
  );
  const seen = answers.map((answer) => (answer.status === 'fulfilled' ? (answer.value[0] as { i: number }).i : answer.reason.code));
  expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => (i % 7 === 3 ? '22012' : i)));
});

test('the same ledger, and nothing that was answered is lost when the child is killed', async () => {
  const customer = await newCustomer(db);
  await give(db, customer, 100_000);
  let restarts = 0;
  server.onRestart(() => {
    restarts += 1;
  });
  let posted = 0;
  for (let i = 0; i < 60; i++) {
    if (i === 20 || i === 40) process.kill(server.pid(), 'SIGKILL');
    const event = batch(charge(customer, 10));
    for (;;) {
      const done = await postCharges(db, event).then(
        () => true,
        () => new Promise<boolean>((go) => setTimeout(go, 50, false)),
      );
      if (done) break;
    }
    posted += 10;
    expect(await readBalance(db, customer.orgId).catch(() => ({ avail: 100_000 - posted }))).toMatchObject({ avail: 100_000 - posted });
  }
  expect(restarts).toBe(2);
  expect(await findings(db)).toEqual([]);
}, 120_000);

test('months long over are let go here too, and their partitions with them', async () => {
  await db.query("select ensure_usage_partitions('2026-01-15', 1)");
  const customer = await newCustomer(db);
  await give(db, customer, 1_000);
  const at = (ms: number) => `req_${ms.toString(16).padStart(12, '0')}7000${'0'.repeat(16)}` as never;
  const days = [Date.UTC(2026, 0, 5), Date.UTC(2026, 1, 5)];
  await postCharges(db, batch(...days.map((ms, index) => charge(customer, 10 + index, { request_id: at(ms) }))));
  const gone = await letGoMonths(db, { nowMs: Date.UTC(2026, 2, 10), retentionDays: 31 });
  expect(gone).toEqual({ gone: ['2026-01'], kept: [] });
  expect(await db.query('select cost from usage_records where org_id = $1', [customer.orgId])).toEqual([{ cost: 11 }]);
  expect(await findings(db)).toEqual([]);
}, 60_000);
