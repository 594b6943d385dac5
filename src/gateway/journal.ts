import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RequestId } from '../domain/ids.js';
import { breathe } from './breathe.js';
import { Entries, type Entry, newEntry, type Segment, type Wanted } from './entries.js';
import { bookedLine, type HeldLine, heldHead, type Line, readLines, type SettledLine, settledHead } from './journal-lines.js';
import { MINE, SEGMENT_NAME, Writer, type WriterOptions } from './journal-writer.js';

/**
 * What this process has promised, on its own disk, written before the hot store is told: a line for each hold, each
 * checkpoint of a long stream and each settlement. A plain write survives the death of the process; `syncMs` makes it
 * survive the death of the machine. A segment is deleted when everything in it is booked.
 */
export interface Journal {
  /** False when the disk takes no more: then nothing new may be promised. */
  readonly writable: boolean;
  readonly bytes: number;
  /** Settlements not confirmed yet; those of an earlier life count once they are read. */
  readonly unconfirmed: number;
  /** The first line of a request makes its entry; the later ones name it. */
  held(line: HeldLine, entry?: Entry): Entry;
  settled(line: SettledLine, entry?: Entry): Entry;
  /**
   * Runs `act` when what was said before is on the disk, at the end of this turn; at once when nothing waits, or the disk
   * takes nothing. A client may hold its whole answer only after that: whoever kills us in between must not make it free.
   */
  afterWrite(act: () => void): void;
  /** Booked in Postgres, or given back without a row: no longer needed. */
  confirmed(entry: Entry): void;
  /** The next settlements to ask about, oldest first; what is not confirmed comes again when all others had their turn. */
  next(limit: number): readonly Entry[];
  /** Reads what an earlier life left, once. It takes as many turns of the event loop as it needs, and others have theirs. */
  adopt(): Promise<Left>;
  /**
   * Visits the last line of each request that is wanted and not confirmed, a few in each turn; waits where a visit does.
   * Answers how many of those lines could not be found. Reads the disk.
   */
  replay(isWanted: (entry: Entry) => boolean, visit: (found: Replayed) => Promise<void> | void): Promise<number>;
  close(): void;
}

export interface Replayed {
  readonly line: Line;
  readonly entry: Entry;
}

/** Damaged are lines that cannot be read; a torn end is expected and not counted. */
export interface Left {
  readonly settlements: number;
  readonly holds: number;
  readonly damaged: number;
}

export interface JournalOptions extends Omit<WriterOptions, 'segmentBytes'> {
  readonly segmentBytes?: number;
  readonly bytesMax?: number;
}

const BYTES_MAX = 1024 * 1024 * 1024;
const SEGMENT_BYTES = 16 * 1024 * 1024;
/** The file that is being written is never deleted, so it must never be all that may be kept. */
const SEGMENTS_LEAST = 8;

export function openJournal(options: JournalOptions): Journal {
  const { folder, bytesMax = BYTES_MAX, segmentBytes = Math.min(SEGMENT_BYTES, Math.ceil(bytesMax / SEGMENTS_LEAST)) } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return new FolderJournal(new Writer({ ...options, segmentBytes }), bytesMax);
}

/** A class, because an object written out with getters is a dictionary to the runtime, and every request looks things up here. */
class FolderJournal implements Journal {
  private readonly writer: Writer;
  private readonly bytesMax: number;
  private readonly entries = new Entries();
  private booked: { readonly requestId: RequestId; readonly home: Segment }[] = [];

  constructor(writer: Writer, bytesMax: number) {
    this.writer = writer;
    this.bytesMax = bytesMax;
  }

  get writable(): boolean {
    return this.writer.healthy && this.writer.bytes() < this.bytesMax;
  }

  get bytes(): number {
    return this.writer.bytes();
  }

  get unconfirmed(): number {
    return this.entries.unconfirmed;
  }

  held(line: HeldLine, known?: Entry): Entry {
    const entry = this.noted(line, known);
    this.writer.append(heldHead(line), line.note);
    return entry;
  }

  settled(line: SettledLine, known?: Entry): Entry {
    const entry = this.noted(line, known);
    this.entries.settle(entry);
    this.writer.append(settledHead(line), line.event);
    return entry;
  }

  afterWrite(act: () => void): void {
    this.writer.afterWrite(act);
  }

  confirmed(entry: Entry): void {
    const home = entry.segment;
    this.writer.moveTo(entry, null);
    this.entries.forget(entry);
    if (!home) return;
    if (this.booked.length === 0) setImmediate(() => this.sayBooked());
    this.booked.push({ requestId: entry.requestId, home });
  }

  /**
   * Its file may stand for long: without this line the next life would say all that is in it again, and until that was booked
   * a second time, for nothing, its credits would be missing. Only a help: while we run no file is kept for it, and none is made too long.
   */
  private sayBooked(): void {
    const still = this.booked.filter(({ home }) => this.writer.stands(home));
    this.booked = [];
    if (still.length > 0 && this.writable) this.writer.append(bookedLine(still.map(({ requestId }) => requestId)), '');
  }

  next(limit: number): readonly Entry[] {
    return this.entries.next(limit);
  }

  adopt(): Promise<Left> {
    return adoptLeft(this.writer, this.entries);
  }

  async replay(isWanted: (entry: Entry) => boolean, visit: (found: Replayed) => Promise<void> | void): Promise<number> {
    this.writer.flush();
    return visitAll(this.writer, await this.entries.wanted(isWanted), visit);
  }

  close(): void {
    this.sayBooked();
    this.writer.close();
  }

  private noted(line: HeldLine | SettledLine, known: Entry | undefined): Entry {
    const entry = known ?? newEntry(line);
    this.writer.moveTo(entry, this.writer.current);
    return entry;
  }
}

async function adoptLeft(writer: Writer, entries: Entries): Promise<Left> {
  const holds = new Set<Entry>();
  let settlements = 0;
  let unreadable = 0;
  for (let segment = writer.unread[0]; segment && !writer.isClosed; segment = writer.unread[0]) {
    const home = segment;
    const damaged: string[] = [];
    await readLines(home.path, (line, text) => {
      if (!line) {
        damaged.push(text);
        return;
      }
      if (line.kind === 'booked') {
        for (const entry of entries.known(line.requestIds)) {
          if (entry.settled) settlements -= 1;
          holds.delete(entry);
          writer.moveTo(entry, null);
          entries.forget(entry);
        }
        return;
      }
      const entry = entries.adopt(line);
      // Nothing that is said of a request after its settlement counts.
      if (entry.settled && line.kind === 'held') return;
      writer.moveTo(entry, home);
      if (line.kind === 'held') holds.add(entry);
      else if (!entry.settled) {
        entries.settle(entry);
        settlements += 1;
        holds.delete(entry);
      }
    });
    // Kept beside the segment, for somebody to look at when the segment is gone.
    if (damaged.length > 0) writeFileSync(`${home.path}.damaged`, damaged.map((text) => `${text}\n`).join(''), { mode: MINE });
    unreadable += damaged.length;
    writer.wasRead();
  }
  return { settlements, holds: holds.size, damaged: unreadable };
}

const VISITS_AT_ONCE = 100;

/** Segment by segment, so that no more than the lines of one are in memory. */
async function visitAll(writer: Writer, wanted: Wanted, visit: (found: Replayed) => Promise<void> | void): Promise<number> {
  let missing = 0;
  let visited = 0;
  for (const [segment, entries] of wanted) {
    const lines = new Map<RequestId, Line>();
    await readLines(segment.path, (line) => {
      if (!line || line.kind === 'booked' || !entries.has(line.requestId)) return;
      if (line.kind === 'settled' || lines.get(line.requestId)?.kind !== 'settled') lines.set(line.requestId, line);
    });
    for (const [requestId, entry] of entries) {
      if (writer.isClosed) return missing;
      // Meanwhile it was confirmed, or something newer was written of it.
      if (entry.segment !== segment) continue;
      const line = lines.get(requestId);
      if (!line) missing += 1;
      else {
        const room = visit({ line, entry });
        if (room) await room;
        if (++visited % VISITS_AT_ONCE === 0) await breathe();
      }
    }
  }
  return missing;
}

/**
 * Gives the segments of gateway processes that are no longer started to the first one, so that fewer processes than
 * before still finish what all of them had promised. Called while no gateway of this folder runs.
 */
export function adoptJournals(root: string, slots: readonly number[]): void {
  const first = slots[0];
  if (first === undefined || !existsSync(root)) return;
  const home = join(root, String(first));
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const left = readdirSync(root).filter((name) => /^\d+$/.test(name) && !slots.includes(Number(name)));
  let next = 1 + Math.max(0, ...readdirSync(home).map((name) => Number.parseInt(name, 10) || 0));
  for (const folder of left) {
    for (const name of readdirSync(join(root, folder))
      .filter((one) => SEGMENT_NAME.test(one))
      .sort()) {
      renameSync(join(root, folder, name), join(home, `${String(next++).padStart(12, '0')}.journal`));
    }
    rmSync(join(root, folder), { recursive: true, force: true });
  }
}
