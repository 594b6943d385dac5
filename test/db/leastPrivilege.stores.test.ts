import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.js';
import { openStore, type Rig, rigOf } from '../api/harness.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

// C9: the server with a role that owns nothing of the ledger.

const role = `farebox_app_${randomBytes(6).toString('hex')}`;
let database: TestDatabase;
let owner: Database;
let app: Database;
let rig: Rig;

beforeAll(async () => {
  database = await freshDatabase(inject('databaseUrl'));
  owner = openDatabase({ url: database.url, max: 1 });
  for (const text of [
    `create role ${role} login password 'app' nosuperuser nocreatedb nocreaterole noreplication`,
    `grant usage, create on schema public to ${role}`,
    `grant select, insert, update, delete on all tables in schema public to ${role}`,
    `grant usage, select on all sequences in schema public to ${role}`,
    `grant execute on all functions in schema public to ${role}`,
    `alter table usage_records owner to ${role}`,
  ])
    await owner.query(text);
  const url = new URL(database.url);
  url.username = role;
  url.password = 'app';
  app = openDatabase({ url: url.href, max: 2 });
  rig = rigOf(app, await openStore(), {});
});

afterAll(async () => {
  await rig.deps.counter.close();
  await app.close();
  await owner.query(`reassign owned by ${role} to current_user`);
  await owner.query(`drop owned by ${role}`);
  await owner.query(`drop role ${role}`);
  await owner.close();
  await database.drop();
});

test('organizations, credits, tokens and the months to come need nothing more', async () => {
  const org = await rig.org();
  const granted = await rig.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 10, reason: 'test' });
  expect(granted.status, granted.text).toBe(201);
  await rig.token(org);
  expect((await rig.call('GET', `/api/v1/orgs/${org}/balance`)).body['settled']).toMatchObject({ credits: '10' });
  await app.query('select ensure_usage_partitions(now())');
  expect((await rig.call('GET', '/api/v1/admin/reconciliation')).body['clean']).toBe(true);
});

test.each([
  'update ledger_entries set amount = amount + 1',
  'delete from ledger_txs',
  'truncate grants',
  'delete from audit_log',
  'alter table ledger_entries disable trigger all',
  'drop trigger ledger_entries_rows on ledger_entries',
  'drop table ledger_entries cascade',
  'create or replace function refuse_change() returns trigger language plpgsql as $$ begin return new; end $$',
  'set session_replication_role = replica',
  'create role somebody superuser',
  `alter role ${role} superuser`,
  "copy (select 1) to program 'id'",
  "select pg_read_file('/etc/passwd')",
])('refused: %s', async (text) => {
  await expect(app.query(text)).rejects.toThrow();
});
