import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId, type OrgId, type RequestId, type TokenId } from '../../src/domain/ids.js';
import type { Entry } from '../../src/gateway/entries.js';
import { type Journal, type JournalOptions, openJournal } from '../../src/gateway/journal.js';

// What the journal says of requests that Postgres has.

const orgId = 'org_07Ab12Cd34Ef56Gh' as OrgId;
const tokenId = 'tok_07Ab12Cd34Ef56' as TokenId;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'farebox-booked-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const start = (options: Partial<JournalOptions> = {}): Journal => openJournal({ folder, onTrouble: () => undefined, ...options });
const written = (journal: Journal): Promise<void> => new Promise((go) => journal.afterWrite(go));
const turn = (): Promise<void> => new Promise((go) => setImmediate(() => setImmediate(go)));
const files = (): string[] => (existsSync(folder) ? readdirSync(folder).sort() : []);
const onDisk = (): string =>
  files()
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');
const named = (requestId: RequestId): string => `{"request_id":"${requestId}","org_id":"${orgId}","token_id":"${tokenId}","kind":"final"}`;
const hold = (journal: Journal, requestId: RequestId): Entry =>
  journal.held({ requestId, orgId, tokenId, amount: microCredits(900), floor: microCredits(0), note: named(requestId) });
const settle = (journal: Journal, requestId: RequestId, cost: number, entry?: Entry): Entry =>
  journal.settled({ requestId, orgId, tokenId, cost: microCredits(cost), event: named(requestId) }, entry);

/** Everything that would be said again. */
async function left(journal: Journal) {
  const { damaged } = await journal.adopt();
  const found: { kind: string; requestId: RequestId; entry: Entry }[] = [];
  const missing = await journal.replay(
    () => true,
    ({ line: { kind, requestId }, entry }) => void found.push({ kind, requestId, entry }),
  );
  expect(missing).toBe(0);
  const of = (wanted: string) => found.filter(({ kind }) => kind === wanted);
  return { held: of('held'), settled: of('settled'), damaged };
}

test('what is confirmed is not said again by the next life either, whatever keeps its file', async () => {
  const first = start();
  const [booked, given, owed] = [newRequestId(), newRequestId(), newRequestId()];
  const entries = [settle(first, booked, 5, hold(first, booked)), hold(first, given)];
  settle(first, owed, 6);
  await written(first);
  for (const entry of entries) first.confirmed(entry);
  await turn();
  expect(onDisk()).toContain(`B\t${booked} ${given}\n`);
  const second = start();
  expect(await second.adopt()).toEqual({ settlements: 1, holds: 0, damaged: 0 });
  const { held, settled, damaged } = await left(second);
  expect([held.length, settled.map(({ requestId }) => requestId), damaged]).toEqual([0, [owed], 0]);
  expect(second.unconfirmed).toBe(1);
});

test('a later file that only says what of an earlier one is booked is kept as long as that, and no longer', async () => {
  const first = start({ segmentBytes: 250 });
  const [booked, owed] = [settle(first, newRequestId(), 1), settle(first, newRequestId(), 2)];
  await written(first);
  first.confirmed(booked);
  await turn();
  first.close();
  expect(files()).toHaveLength(2);
  const second = start();
  const { settled } = await left(second);
  expect(settled.map(({ requestId }) => requestId)).toEqual([owed.requestId]);
  for (const { entry } of settled) second.confirmed(entry);
  await turn();
  expect(onDisk()).toBe('');
});

test('a life that said nothing leaves no file of its own beside what an earlier one owes', async () => {
  const first = start();
  settle(first, newRequestId(), 1);
  first.close();
  const owed = files();
  for (let i = 0; i < 3; i++) start().close();
  expect(files()).toEqual(owed);
});

test('nothing is said of what lay in a file that is gone, nor when the journal is full', async () => {
  const gone = start({ segmentBytes: 100 });
  const entry = settle(gone, newRequestId(), 1);
  await written(gone);
  gone.confirmed(entry);
  await turn();
  expect(onDisk()).toBe('');
  gone.close();
  const full = start({ segmentBytes: 400, bytesMax: 600 });
  const entries: Entry[] = [];
  while (full.writable) {
    entries.push(settle(full, newRequestId(), 1));
    await written(full);
  }
  const before = onDisk();
  for (const one of entries.slice(-1)) full.confirmed(one);
  await turn();
  expect(onDisk()).toBe(before);
});

test('a line of what is booked that makes no sense is damaged, and its good ids do not count', async () => {
  const first = start();
  const owed = newRequestId();
  settle(first, owed, 6);
  await written(first);
  appendFileSync(join(folder, files()[0] ?? ''), `B\t${owed} nonsense\nB\t\n`);
  const { settled, damaged } = await left(start());
  expect([settled.length, damaged]).toEqual([1, 1]);
});
