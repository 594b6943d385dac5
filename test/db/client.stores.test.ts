import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.js';
import { giveLease, takeLease } from '../../src/db/lease.js';
import { migrate, migrationsFolder, migrationsIn, stillOpen } from '../../src/db/migrate.js';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await freshDatabase(inject('databaseUrl'));
  db = openDatabase({ url: database.url, max: 3, timeoutMs: 5_000 });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

describe('values', () => {
  test('come back as they went in', async () => {
    const at = new Date('2026-02-03T04:05:06.789Z');
    const list = ['a', 'b"c', 'd,e', 'f\\g', '{}', ''];
    const rows = await db.query(
      'select $1::bigint as whole, $2::text as text, $3::boolean as yes, $4::timestamptz as at, $5::jsonb as json, $6::text[] as list, $7::text as nothing, $8::date as day, $9::timestamptz[] as times',
      [9_007_199_254_740_991, 'x', false, at, { a: [1] }, list, null, '2026-02-03', [at]],
    );
    expect(rows).toEqual([
      {
        whole: 9_007_199_254_740_991,
        text: 'x',
        yes: false,
        at,
        json: { a: [1] },
        list,
        nothing: null,
        day: '2026-02-03',
        times: [expect.stringContaining('04:05:06')],
      },
    ]);
  });

  test('beyond exact whole numbers throw instead of losing a digit', async () => {
    await expect(db.query('select 9007199254740993::bigint')).rejects.toThrow(/9007199254740993/);
  });
});

test('a statement that takes too long is given up, and the next one works', async () => {
  await expect(db.query('select pg_sleep(30)', [], { timeoutMs: 100 })).rejects.toMatchObject({ code: 'TIMEOUT', maybeDone: true });
  expect(await db.query('select 1 as one')).toEqual([{ one: 1 }]);
});

test('nobody there is an error that says so, at once', async () => {
  const nowhere = openDatabase({ url: 'postgres://x@127.0.0.1:1/x', max: 1 });
  await expect(nowhere.query('select 1')).rejects.toMatchObject({
    code: 'ECONNREFUSED',
    publicMessage: expect.stringContaining('cannot be reached'),
  });
  await nowhere.close();
});

test('a lease has one owner, and its fence rises with every change', async () => {
  expect(await takeLease(db, 'x', 'a', 60_000)).toEqual({ name: 'x', fence: 1 });
  expect(await takeLease(db, 'x', 'b', 60_000)).toBeUndefined();
  expect(await takeLease(db, 'x', 'a', 60_000)).toEqual({ name: 'x', fence: 1 });
  await giveLease(db, 'x', 'a');
  expect(await takeLease(db, 'x', 'b', 60_000)).toEqual({ name: 'x', fence: 2 });
});

describe('migrations', () => {
  // C15
  test('run once, by whoever comes first', async () => {
    const empty = await emptyDatabase(inject('databaseUrl'));
    const servers = Array.from({ length: 3 }, (_, i) => ({ owner: `s${i}`, db: openDatabase({ url: empty.url, max: 1 }) }));
    const done = await Promise.all(servers.map((server) => migrate(server.db, { owner: server.owner })));
    expect(done.flatMap((one) => one.applied).sort()).toEqual(migrationsIn(migrationsFolder()).map((file) => file.name));
    for (const server of servers) await server.db.close();
    await empty.drop();
  });

  test('open with a sentence of intent', () => {
    const files = migrationsIn(migrationsFolder());
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect(file.text).toMatch(/^-- [A-Z].*[.:;,\w]\n/);
  });

  test('refuse edited history, and a database from the future', () => {
    const file = { name: '0001_a.sql', text: '', checksum: 'x' };
    expect(stillOpen([file], [])).toEqual([file]);
    expect(() => stillOpen([file], [{ name: file.name, checksum: 'y' }])).toThrow(/was changed after it had run/);
    expect(() => stillOpen([file], [{ name: '0009_z.sql', checksum: 'x' }])).toThrow(/newer than this program/);
  });
});
