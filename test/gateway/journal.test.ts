import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId, type OrgId, type RequestId, type TokenId } from '../../src/domain/ids.js';
import type { Entry } from '../../src/gateway/entries.js';
import { adoptJournals, type Journal, type JournalOptions, openJournal, type Replayed } from '../../src/gateway/journal.js';

const orgId = 'org_07Ab12Cd34Ef56Gh' as OrgId;
const tokenId = 'tok_07Ab12Cd34Ef56' as TokenId;
const written = (journal: Journal): Promise<void> => new Promise((go) => journal.afterWrite(go));

let root: string;
let folder: string;
let trouble: (string | null)[];
let open: Journal[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'farebox-journal-'));
  folder = join(root, '1');
  trouble = [];
  open = [];
});
afterEach(() => {
  for (const journal of open) journal.close();
  rmSync(root, { recursive: true, force: true });
});

function start(options: Partial<JournalOptions> = {}): Journal {
  const journal = openJournal({ folder, onTrouble: (words) => void trouble.push(words), ...options });
  open.push(journal);
  return journal;
}

/** What a kill leaves: the files as they are. The object that wrote them is not asked again. */
const files = (): string[] => (existsSync(folder) ? readdirSync(folder).sort() : []);
const onDisk = (): string =>
  files()
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');
const ids = (requestId: RequestId) => ({ requestId, orgId, tokenId });
const named = (requestId: RequestId, more = '') => `{"request_id":"${requestId}","org_id":"${orgId}","token_id":"${tokenId}"${more}}`;
const hold = (journal: Journal, requestId: RequestId, floor = 0, entry?: Entry): Entry =>
  journal.held({ ...ids(requestId), amount: microCredits(900), floor: microCredits(floor), note: named(requestId) }, entry);
const settle = (journal: Journal, requestId: RequestId, cost: number, entry?: Entry): Entry =>
  journal.settled({ ...ids(requestId), cost: microCredits(cost), event: named(requestId, ',"kind":"final"') }, entry);

/** Everything that is not confirmed, as whoever says it again is told. */
async function left(journal: Journal) {
  const { damaged } = await journal.adopt();
  const held: (Extract<Replayed['line'], { kind: 'held' }> & Pick<Replayed, 'entry'>)[] = [];
  const settled: (Extract<Replayed['line'], { kind: 'settled' }> & Pick<Replayed, 'entry'>)[] = [];
  const missing = await journal.replay(
    () => true,
    ({ line, entry }) => void (line.kind === 'held' ? held.push({ ...line, entry }) : settled.push({ ...line, entry })),
  );
  expect(missing).toBe(0);
  return { held, settled, damaged };
}

test('the next life finds what the last one promised: settlements, and open holds with their last floor', async () => {
  const first = start();
  const [running, ended] = [newRequestId(), newRequestId()];
  const entry = hold(first, running);
  hold(first, running, 40, entry);
  settle(first, ended, 7, hold(first, ended));
  await written(first);
  const { held, settled, damaged } = await left(start());
  expect(held.map(({ requestId, amount, floor }) => [requestId, amount, floor])).toEqual([[running, 900, 40]]);
  expect(settled.map(({ requestId, cost }) => [requestId, cost])).toEqual([[ended, 7]]);
  expect(held[0]).toMatchObject({ orgId, tokenId, note: named(running) });
  expect(damaged).toBe(0);
});

test('what is confirmed is not said again', async () => {
  const first = start();
  const [booked, owed] = [newRequestId(), newRequestId()];
  const entry = settle(first, booked, 5);
  settle(first, owed, 6);
  first.confirmed(entry);
  expect((await left(first)).settled.map(({ requestId }) => requestId)).toEqual([owed]);
  expect(first.next(10).map(({ requestId }) => requestId)).toEqual([owed]);
  expect(first.unconfirmed).toBe(1);
});

test('a torn last line is expected: it is neither read nor counted, and nothing is written onto it', async () => {
  const first = start();
  const [whole, torn, later] = [newRequestId(), newRequestId(), newRequestId()];
  settle(first, whole, 7);
  await written(first);
  appendFileSync(join(folder, files()[0] ?? ''), `S\t8\t0\t${named(torn).slice(0, 50)}`);
  const second = start();
  settle(second, later, 9);
  await written(second);
  const { settled, damaged } = await left(start());
  expect(settled.map(({ requestId }) => requestId)).toEqual([whole, later]);
  expect(damaged).toBe(0);
});

test('a damaged line in the middle is counted, kept aside, and costs only itself', async () => {
  const [before, after] = [newRequestId(), newRequestId()];
  const first = start();
  settle(first, before, 1);
  await written(first);
  const garbage = [
    'S\t-5\t0\t{}',
    `S\t99999999999999999999\t0\t${named(before)}`,
    '\u0000\u0000\u0000',
    'nonsense',
    `S\t3\t0\t${named(before).slice(0, -1)}`,
  ];
  appendFileSync(join(folder, files()[0] ?? ''), garbage.map((line) => `${line}\n`).join(''));
  settle(first, after, 2);
  await written(first);
  const second = start();
  const { settled, damaged } = await left(second);
  expect(settled.map(({ requestId, cost }) => [requestId, cost])).toEqual([
    [before, 1],
    [after, 2],
  ]);
  expect(damaged).toBe(garbage.length);
  const [old] = files();
  for (const { entry } of settled) second.confirmed(entry);
  expect(files()).not.toContain(old);
  expect(readFileSync(join(folder, `${old}.damaged`), 'utf8')).toBe(garbage.map((line) => `${line}\n`).join(''));
});

test('a segment is begun when the last one is full, and deleted when everything in it is booked', async () => {
  const journal = start({ segmentBytes: 400 });
  const entries: Entry[] = [];
  for (let i = 0; i < 6; i++) {
    entries.push(settle(journal, newRequestId(), i));
    await written(journal);
  }
  const full = files();
  expect(full.length).toBeGreaterThan(2);
  expect(journal.bytes).toBe(Buffer.byteLength(onDisk()));
  for (const entry of entries.slice(1)) journal.confirmed(entry);
  expect(files()).toContain(full[0]); // its first line is still owed
  expect(files().length).toBeLessThan(full.length);
  expect((await left(journal)).settled.map(({ entry }) => entry)).toEqual([entries[0]]);
  journal.confirmed(entries[0] as Entry);
  expect(files()).not.toContain(full[0]);
});

test('a request whose last line moved on no longer keeps the segment of its first', async () => {
  const journal = start({ segmentBytes: 200 });
  const requestId = newRequestId();
  const entry = hold(journal, requestId, 1);
  hold(journal, requestId, 2, entry);
  await written(journal);
  const [first] = files();
  hold(journal, requestId, 3, entry);
  await written(journal);
  expect(files()).not.toContain(first);
  expect((await left(start())).held.map(({ floor }) => floor)).toEqual([3]);
});

test('lives that ended before they promised anything leave no files behind', () => {
  for (let life = 0; life < 5; life++) start();
  expect(files().length).toBe(1);
});

test('an orderly end with nothing owed leaves no file; a new life goes on with higher numbers', async () => {
  const first = start();
  const entry = settle(first, newRequestId(), 1);
  await written(first);
  const [old] = files();
  first.confirmed(entry);
  first.close();
  open = [];
  expect(files()).toEqual([]);
  writeFileSync(join(folder, old ?? ''), '');
  const second = start();
  settle(second, newRequestId(), 1);
  await written(second);
  expect(files().at(-1)).not.toBe(old);
});

test('beyond its bound it takes no new promises, until enough of the old ones are booked', async () => {
  const journal = start({ segmentBytes: 500, bytesMax: 1_000 });
  const entries: Entry[] = [];
  while (journal.writable && entries.length < 100) {
    entries.push(settle(journal, newRequestId(), 1));
    await written(journal);
  }
  expect(entries.length).toBeLessThan(20);
  // What runs already is still written down.
  const late = settle(journal, newRequestId(), 2);
  await written(journal);
  expect(onDisk()).toContain(late.requestId);
  for (const entry of entries) journal.confirmed(entry);
  expect(journal.writable).toBe(true);
  expect(trouble).toEqual([]);
});

test('a bound smaller than a file of the journal would be is reached, and left again when everything is booked', async () => {
  const journal = start({ bytesMax: 100_000 });
  const entries: Entry[] = [];
  while (journal.writable && entries.length < 5_000) {
    entries.push(settle(journal, newRequestId(), 1));
    await written(journal);
  }
  expect(entries.length).toBeLessThan(2_000);
  for (const entry of entries) journal.confirmed(entry);
  expect(journal.writable).toBe(true);
});

test('a disk that takes no more is announced once, stops new promises, loses nothing and is announced again when it is over', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  const disk = mountedDisk();
  try {
    folder = join(disk ?? root, '1');
    const journal = start(disk ? {} : { segmentBytes: 1 });
    const early = newRequestId();
    settle(journal, early, 1);
    await written(journal);
    const whenFull = disk ? fillUp(disk) : withoutFolder();
    const late = newRequestId();
    settle(journal, late, 2);
    await new Promise((go) => setImmediate(go));
    expect(journal.writable).toBe(false);
    expect(trouble).toEqual([expect.stringMatching(/^the journal cannot be written \(\w+\): no new request is admitted until it can$/)]);
    whenFull();
    vi.advanceTimersByTime(1_000);
    expect(journal.writable).toBe(true);
    expect(trouble.at(-1)).toBeNull();
    expect(trouble.length).toBe(2);
    const { settled, damaged } = await left(start());
    expect(settled.map(({ requestId }) => requestId)).toEqual([early, late]);
    expect(damaged).toBeLessThanOrEqual(1); // the line that was half written when the disk was full
  } finally {
    vi.useRealTimers();
    for (const journal of open.splice(0)) journal.close();
    if (disk) execFileSync('umount', ['-l', disk]);
  }
});

function mountedDisk(): string | null {
  const place = join(root, 'disk');
  mkdirSync(place);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'farebox-journal', place], { stdio: 'ignore' });
    return place;
  } catch {
    return null;
  }
}

function fillUp(disk: string): () => void {
  const filler = join(disk, 'filler');
  for (let bytes = 16_384; bytes >= 1; ) {
    try {
      appendFileSync(filler, Buffer.alloc(bytes));
    } catch {
      bytes = Math.floor(bytes / 2);
    }
  }
  // The last page of the journal itself has room left; it goes as well.
  const [own] = readdirSync(folder);
  const rest = 4_096 - (readFileSync(join(folder, own ?? '')).length % 4_096);
  appendFileSync(join(folder, own ?? ''), '\n'.repeat(rest));
  return () => rmSync(filler);
}

/** The next segment cannot be made, because a file stands where its folder was. */
function withoutFolder(): () => void {
  const place = folder;
  renameSync(place, `${place}.away`);
  writeFileSync(place, '');
  return () => {
    rmSync(place);
    renameSync(`${place}.away`, place);
  };
}

test('a segment that could not be begun is tried again, although nobody asks meanwhile', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  try {
    const journal = start({ segmentBytes: 1 });
    const putBack = withoutFolder();
    const requestId = newRequestId();
    settle(journal, requestId, 1);
    await new Promise((go) => setImmediate(go));
    expect(journal.writable).toBe(false);
    vi.advanceTimersByTime(3_000);
    expect(journal.writable).toBe(false);
    expect(trouble.length).toBe(1);
    putBack();
    vi.advanceTimersByTime(1_000);
    expect(journal.writable).toBe(true);
    expect(trouble.at(-1)).toBeNull();
    const { settled } = await left(start());
    expect(settled.map((one) => one.requestId)).toEqual([requestId]);
  } finally {
    vi.useRealTimers();
  }
});

test('with syncMs the disk is told to keep what was written', async () => {
  const journal = start({ syncMs: 5 });
  settle(journal, newRequestId(), 1);
  await written(journal);
  await new Promise((go) => setTimeout(go, 30));
  journal.close(); // also while a sync may be on its way
  open = [];
  expect(onDisk().split('\n').length).toBe(2);
  expect(trouble).toEqual([]);
});

test('fewer processes than before still finish what all of them promised', async () => {
  const made = ['1', '2', '3'].map((slot) => ({ slot, requestId: newRequestId() }));
  for (const { slot, requestId } of made) {
    const journal = start({ folder: join(root, slot) });
    settle(journal, requestId, 1);
    await written(journal);
  }
  adoptJournals(root, [1]);
  expect(readdirSync(root)).toEqual(['1']);
  const found = (await left(start())).settled.map(({ requestId }) => requestId);
  expect(found).toEqual(made.map(({ requestId }) => requestId));
});

test('a lost journal is an empty one: the server goes on, and only what Postgres has not heard of is missing', async () => {
  const first = start();
  settle(first, newRequestId(), 1);
  await written(first);
  rmSync(root, { recursive: true, force: true });
  adoptJournals(root, [1]);
  const second = start();
  expect(await left(second)).toEqual({ held: [], settled: [], damaged: 0 });
  expect(second.writable).toBe(true);
});

test('two journals in one folder never write into the same file, and neither deletes what the other still owes', async () => {
  const [one, two] = [start(), start()];
  const [a, b] = [newRequestId(), newRequestId()];
  const entry = settle(one, a, 1);
  await written(one);
  settle(two, b, 2);
  await written(two);
  one.confirmed(entry);
  one.close();
  open = [two];
  expect(onDisk()).toContain(b);
});
