import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDatabase } from '../../../src/db/client.js';
import { startEmbeddedPostgres } from '../../../src/db/embedded/start.js';
import { migrate } from '../../../src/db/migrate.js';
import { openStore, rigOf, useApi } from '../../api/harness.js';
import { mailbox } from './browser.js';
import { livesThrough } from './journey.js';

const mail = mailbox(true);
const api = useApi({ people: { mailer: mail } });

test('a person lives through everything on Postgres', async () => {
  await livesThrough(api, mail, 'ada@example.com');
  expect(mail.mails.map(({ kind }) => kind)).toEqual(['verify', 'verify', 'new_sign_in', 'reset', 'password_changed']);
});

test('a person lives through everything on the embedded database', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-people-'));
  const server = await startEmbeddedPostgres({ dataDir: folder });
  const db = openDatabase({ url: server.url });
  try {
    await migrate(db, { owner: 'test' });
    const box = mailbox(true);
    const rig = rigOf(db, await openStore(), { people: { mailer: box } });
    await livesThrough(rig, box, 'ada@example.com');
    await rig.deps.counter.close();
  } finally {
    await db.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
