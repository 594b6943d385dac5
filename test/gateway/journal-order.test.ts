import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId, type OrgId, type TokenId } from '../../src/domain/ids.js';
import { type Journal, openJournal } from '../../src/gateway/journal.js';

let folder: string;
let journal: Journal;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'farebox-journal-'));
  journal = openJournal({ folder, onTrouble: () => undefined });
});
afterEach(() => {
  journal.close();
  rmSync(folder, { recursive: true, force: true });
});

const onDisk = (): string =>
  readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');

test('what follows a settlement waits until the settlement is on the disk', async () => {
  const requestId = newRequestId();
  const ids = { requestId, orgId: 'org_07Ab12Cd34Ef56Gh' as OrgId, tokenId: 'tok_07Ab12Cd34Ef56' as TokenId };
  journal.settled({ ...ids, cost: microCredits(7), event: '{"kind":"final"}' });
  const seen = await new Promise<string>((answer) => journal.afterWrite(() => answer(onDisk())));
  expect(seen).toContain(`s\t${requestId}\t`);
});

test('nothing waits when nothing is on its way to the disk', () => {
  let ran = false;
  journal.afterWrite(() => {
    ran = true;
  });
  expect(ran).toBe(true);
});
