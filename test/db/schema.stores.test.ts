import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import * as access from '../../src/db/access.js';
import { type Database, openDatabase } from '../../src/db/client.js';
import * as people from '../../src/db/people.js';
import * as schema from '../../src/db/schema.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await freshDatabase(inject('databaseUrl'));
  db = openDatabase({ url: database.url, max: 1 });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

test('the typed mirror has exactly the tables and columns of the migrated database', async () => {
  const rows = await db.query<{ line: string }>(
    `select format('%s.%s %s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then '' else ' null' end) as line
     from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped
       and c.relname not like 'schema\\_%'`,
  );
  const mirrored = [...Object.values(schema), ...Object.values(access), ...Object.values(people)]
    .filter((one) => one instanceof PgTable)
    .flatMap((table) => {
      const { name, columns } = getTableConfig(table);
      return columns.map((column) => `${name}.${column.name} ${column.getSQLType()}${column.notNull ? '' : ' null'}`);
    });
  expect(mirrored.length).toBeGreaterThan(150);
  expect(mirrored.sort()).toEqual(rows.map((row) => row.line).sort());
});
