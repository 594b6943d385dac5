import { expect, inject, test } from 'vitest';
import { openDatabase } from '../../src/db/client.js';
import { freshDatabase } from '../support/postgres.js';

test('a backend that is frozen without a word is given up: what may be repeated is, and everything after it works', async () => {
  const database = await freshDatabase(inject('databaseUrl'));
  let resets = 0;
  const db = openDatabase({ url: database.url, max: 1, timeoutMs: 15_000, onReset: () => resets++ });
  const backend = async (): Promise<number> => Number((await db.query<{ pid: number }>('select pg_backend_pid() as pid'))[0]?.pid);
  const pid = await backend();
  process.kill(pid, 'SIGSTOP');
  try {
    const lost = db.query('select 1 as one', [], { timeoutMs: 300 });
    const queued = db.query('select 2 as two', [], { idempotent: true });
    await expect(lost).rejects.toMatchObject({ code: 'TIMEOUT', maybeDone: true });
    expect(await queued).toEqual([{ two: 2 }]);
    expect(resets).toBe(1);
    expect(await backend()).not.toBe(pid);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  expect(await db.query('select 3 as three')).toEqual([{ three: 3 }]);
  await db.close();
  await database.drop();
});
