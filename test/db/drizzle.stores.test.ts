import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.js';
import { drizzleOver } from '../../src/db/drizzle.js';
import { logins, people } from '../../src/db/people.js';
import { newPersonId } from '../../src/domain/ids.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await freshDatabase(inject('databaseUrl'));
  db = openDatabase({ url: database.url, max: 2 });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

test('rows go in and come out with their types', async () => {
  const drizzle = drizzleOver(db);
  const id = newPersonId();
  const at = new Date('2026-02-03T04:05:06.789Z');
  const row = { id, email: 'ada@example.com', emailVerified: true, name: 'Ada', twoFactorEnabled: false, createdAt: at, updatedAt: at };
  const [made] = await drizzle
    .insert(people)
    .values({ ...row, preferences: sql`default`, known_devices: ['a', 'b"c'] })
    .returning();
  expect(made).toMatchObject({ ...row, preferences: {}, known_devices: ['a', 'b"c'], disabled_at: null });
  expect(await drizzle.select().from(people).where(eq(people.id, id)).limit(1)).toEqual([made]);
});

test('it opens no transaction', async () => {
  await expect(drizzleOver(db).transaction(async () => undefined)).rejects.toThrow(/not supported/);
});

test('what goes wrong says so without the values', async () => {
  const secret = 'scrypt$17$8$1$a-hash-that-nobody-should-read';
  const broken = { id: 'x', userId: newPersonId(), providerId: 'credential', accountId: 'x', password: secret };
  const now = new Date();
  const error = await drizzleOver(db)
    .insert(logins)
    .values({ ...broken, createdAt: now, updatedAt: now })
    .catch((problem: Error) => problem);
  expect(error).toBeInstanceOf(Error);
  expect((error as Error).cause).toMatchObject({ name: 'DatabaseError', code: '23503' });
  const { inspect } = await import('node:util');
  expect(`${(error as Error).message} ${inspect(error, { depth: 6 })}`).not.toContain('nobody-should-read');
});
