import {
  closeSync,
  existsSync,
  fdatasync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { MicroCredits } from '../domain/credits.js';
import { isOrgId, isRequestId, isTokenId, type OrgId, type RequestId, type TokenId } from '../domain/ids.js';
import { Entries, type Entry, newEntry, type Segment } from './entries.js';

/**
 * What this process has promised, on its own disk, written before the hot store is told: a line for each hold, each
 * checkpoint of a long stream and each settlement. A plain write survives the death of the process; `syncMs` makes it
 * survive the death of the machine. A segment is deleted when everything in it is booked.
 */
export interface Journal {
  /** False when the disk takes no more: then nothing new may be promised. */
  readonly writable: boolean;
  readonly bytes: number;
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
  /** Settlements not confirmed yet, by organization. */
  unconfirmed(): ReadonlyMap<OrgId, readonly Entry[]>;
  /** Every line not confirmed yet, the last of each request, in order. Reads the disk. */
  replay(): Replay;
  close(): void;
}

export interface HeldLine {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly amount: MicroCredits;
  readonly floor: MicroCredits;
  readonly note: string;
}

export interface SettledLine {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly cost: MicroCredits;
  readonly event: string;
}

export interface Replayed<L> {
  readonly line: L;
  readonly entry: Entry;
}

export interface Replay {
  readonly held: readonly Replayed<HeldLine>[];
  readonly settled: readonly Replayed<SettledLine>[];
  /** Lines that are neither: a torn end is expected and not counted here. */
  readonly damaged: number;
}

export interface JournalOptions {
  readonly folder: string;
  readonly segmentBytes?: number;
  readonly bytesMax?: number;
  /** 0 = leave it to the operating system. */
  readonly syncMs?: number;
  onTrouble(words: string | null): void;
}

const SEGMENT_BYTES = 16 * 1024 * 1024;
const BYTES_MAX = 1024 * 1024 * 1024;
const TRY_AGAIN_MS = 1_000;
const SOON_MS = 20;

export function openJournal(options: JournalOptions): Journal {
  const { folder, segmentBytes = SEGMENT_BYTES, bytesMax = BYTES_MAX } = options;
  mkdirSync(folder, { recursive: true });
  const writer = new Writer(folder, segmentBytes, options);
  const entries = new Entries();
  const note = (line: HeldLine | SettledLine, known: Entry | undefined): Entry => {
    const entry = known ?? newEntry(line);
    writer.moveTo(entry, writer.current);
    return entry;
  };
  for (const old of writer.old) {
    const { lines, damaged } = linesOf(old.path);
    if (damaged.length > 0) writeFileSync(`${old.path}.damaged`, damaged.map((text) => `${text}\n`).join(''));
    for (const line of lines) writer.moveTo(entries.adopt(line), old);
    if (lines.length + damaged.length === 0) writer.drop(old);
  }
  return {
    get writable() {
      return writer.healthy && writer.bytes() < bytesMax;
    },
    get bytes() {
      return writer.bytes();
    },
    held: (line, known) => {
      const entry = note(line, known);
      const head = isNamed(line.note) ? `H\t${line.amount}\t${line.floor}\t` : longHead('h', line, line.amount, line.floor);
      if (known) writer.append(head, line.note);
      else writer.appendSoon(head, line.note);
      return entry;
    },
    settled: (line, known) => {
      const entry = note(line, known);
      entries.settle(entry);
      writer.append(isNamed(line.event) ? `S\t${line.cost}\t0\t` : longHead('s', line, line.cost, 0), line.event);
      return entry;
    },
    afterWrite: (act) => writer.afterWrite(act),
    confirmed: (entry) => {
      writer.moveTo(entry, null);
      entries.forget(entry);
    },
    unconfirmed: () => entries.unconfirmed(),
    replay: () => {
      writer.flush();
      const lines = readSegments(writer.paths(), entries.byId());
      for (const { entry } of lines.settled) entries.settle(entry);
      return lines;
    },
    close: () => writer.close(),
  };
}

/** What the gateway writes says whose it is in its first words; the line need not say it again. */
const isNamed = (json: string): boolean => json.startsWith('{"request_id":"');

const longHead = (letter: string, ids: Pick<HeldLine, 'requestId' | 'orgId' | 'tokenId'>, amount: number, floor: number): string =>
  `${letter}\t${ids.requestId}\t${ids.orgId}\t${ids.tokenId}\t${amount}\t${floor}\t`;

/** Appends everything of one turn of the event loop in one write: a write each would cost a tenth of all our time. */
class Writer {
  readonly old: readonly Segment[];
  current: Segment;
  healthy = true;
  private readonly segments: Segment[];
  private readonly folder: string;
  private readonly segmentBytes: number;
  private readonly options: JournalOptions;
  private readonly timer: NodeJS.Timeout | null;
  private fd: number;
  /** In pieces, which are put together once. */
  private lines: string[] = [];
  private waiting: (() => void)[] = [];
  private next: number;
  private closed = false;
  private due = false;
  private readonly flushDue = (): void => {
    this.due = false;
    this.flush();
  };

  constructor(folder: string, segmentBytes: number, options: JournalOptions) {
    this.folder = folder;
    this.segmentBytes = segmentBytes;
    this.options = options;
    const names = readdirSync(folder).filter((name) => NAME.test(name));
    this.segments = names.sort().map((name) => ({ path: join(folder, name), bytes: statSync(join(folder, name)).size, open: 0 }));
    this.old = [...this.segments];
    this.next = 1 + Math.max(0, ...names.map((name) => Number.parseInt(name, 10)));
    this.current = this.begin();
    this.fd = openSync(this.current.path, 'a');
    const every = options.syncMs ?? 0;
    this.timer = every > 0 ? setInterval(() => fdatasync(this.fd, () => undefined), every) : null;
    this.timer?.unref();
  }

  /** At the end of this turn. */
  append(head: string, json: string): void {
    this.lines.push(head, json, '\n');
    this.flushSoon();
  }

  /** With the next line that has to be there, or a moment later: nothing is owed yet for what it says. */
  appendSoon(head: string, json: string): void {
    if (this.lines.length === 0 && !this.due) setTimeout(this.flushDue, SOON_MS);
    this.lines.push(head, json, '\n');
  }

  private flushSoon(): void {
    if (this.due) return;
    this.due = true;
    setImmediate(this.flushDue);
  }

  afterWrite(act: () => void): void {
    if (this.lines.length === 0 || !this.healthy || this.closed) {
      act();
      return;
    }
    this.waiting.push(act);
    this.flushSoon();
  }

  flush(): void {
    this.flushLines();
    if (this.waiting.length === 0) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const act of waiting) act();
  }

  private flushLines(): void {
    // Nobody is admitted while it is unhealthy, so it tries by itself whether it has become better.
    if (this.closed || (this.lines.length === 0 && this.healthy)) return;
    const text = this.lines.join('');
    try {
      this.current.bytes += this.write(text);
      this.lines = [];
    } catch (error) {
      this.trouble(error as NodeJS.ErrnoException);
      return;
    }
    if (this.current.bytes >= this.segmentBytes && !this.rotate()) return;
    if (!this.healthy) this.recover();
  }

  /** Its last line is in another segment now, or nowhere any more; a segment that nobody needs is deleted. */
  moveTo(entry: Entry, segment: Segment | null): void {
    const before = entry.segment;
    if (before === segment) return;
    entry.segment = segment;
    if (segment) segment.open += 1;
    if (!before) return;
    before.open -= 1;
    if (before.open <= 0 && before !== this.current) this.drop(before);
  }

  bytes(): number {
    return this.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  paths(): string[] {
    return this.segments.map(({ path }) => path);
  }

  close(): void {
    this.flush();
    this.closed = true;
    if (this.timer) clearInterval(this.timer);
    closeSync(this.fd);
    if (this.current.open <= 0) this.drop(this.current);
  }

  /** A partial write before the disk was full leaves a torn line; the next one starts on a line of its own. */
  private write(text: string): number {
    const whole = this.healthy ? text : `\n${text}`;
    const bytes = Buffer.byteLength(whole);
    let written = writeSync(this.fd, whole);
    if (written === bytes) return bytes;
    const data = Buffer.from(whole);
    while (written < bytes) written += writeSync(this.fd, data, written);
    return bytes;
  }

  private trouble(error: NodeJS.ErrnoException): void {
    if (this.healthy)
      this.options.onTrouble(`the journal cannot be written (${error.code ?? 'error'}): no new request is admitted until it can`);
    this.healthy = false;
    setTimeout(() => this.flush(), TRY_AGAIN_MS).unref();
  }

  private recover(): void {
    this.healthy = true;
    this.options.onTrouble(null);
  }

  private rotate(): boolean {
    const full = this.current;
    try {
      const segment = this.begin();
      const fd = openSync(segment.path, 'a');
      closeSync(this.fd);
      this.fd = fd;
      this.current = segment;
    } catch (error) {
      this.segments.pop();
      this.trouble(error as NodeJS.ErrnoException);
      return false;
    }
    if (full.open <= 0) this.drop(full);
    return true;
  }

  private begin(): Segment {
    const segment = { path: join(this.folder, `${String(this.next++).padStart(12, '0')}.journal`), bytes: 0, open: 0 };
    this.segments.push(segment);
    return segment;
  }

  drop(segment: Segment): void {
    const at = this.segments.indexOf(segment);
    if (at >= 0) this.segments.splice(at, 1);
    rmSync(segment.path, { force: true });
  }
}

const NAME = /^\d{12}\.journal$/;

type Line = ({ readonly kind: 'held' } & HeldLine) | ({ readonly kind: 'settled' } & SettledLine);

function readSegments(paths: readonly string[], wanted: ReadonlyMap<RequestId, Entry>): Replay {
  const held = new Map<RequestId, Replayed<HeldLine>>();
  const settled = new Map<RequestId, Replayed<SettledLine>>();
  let damaged = 0;
  for (const path of paths) {
    const read = linesOf(path);
    damaged += read.damaged.length;
    for (const line of read.lines) {
      const entry = wanted.get(line.requestId);
      if (!entry) continue;
      if (line.kind === 'settled') settled.set(line.requestId, { line, entry });
      else held.set(line.requestId, { line, entry });
    }
  }
  for (const requestId of settled.keys()) held.delete(requestId);
  return { held: [...held.values()], settled: [...settled.values()], damaged };
}

/** What can be read, and what cannot: that is kept beside the segment, for somebody to look at when the segment is gone. */
function linesOf(path: string): { lines: Line[]; damaged: string[] } {
  const texts = readFileSync(path, 'utf8').split('\n');
  texts.pop(); // behind the last line end: nothing, or a line the process did not live to finish
  const lines: Line[] = [];
  const damaged: string[] = [];
  for (const text of texts) {
    const line = lineOf(text);
    if (line) lines.push(line);
    else if (text !== '') damaged.push(text);
  }
  return { lines, damaged };
}

const DIGITS = /^\d{1,15}$/;

const NAMES = /^\{"request_id":"(\w+)","org_id":"(\w+)","token_id":"(\w+)"/;

/** A short line, with the names put back in front. */
function lengthened(text: string): string {
  if (text[1] !== '\t' || (text[0] !== 'H' && text[0] !== 'S')) return text;
  const json = text.slice(text.indexOf('{'));
  return [text.charAt(0).toLowerCase(), ...(NAMES.exec(json) ?? []).slice(1), text.slice(2)].join('\t');
}

function lineOf(text: string): Line | null {
  const [kind, requestId = '', orgId = '', tokenId = '', amount = '', floor = '', ...rest] = lengthened(text).split('\t');
  const json = rest.join('\t');
  const sound =
    isRequestId(requestId) && isOrgId(orgId) && isTokenId(tokenId) && DIGITS.test(amount) && DIGITS.test(floor) && json.endsWith('}');
  if (!sound) return null;
  const micro = Number(amount) as MicroCredits;
  if (kind === 'h') return { kind: 'held', requestId, orgId, tokenId, amount: micro, floor: Number(floor) as MicroCredits, note: json };
  return kind === 's' ? { kind: 'settled', requestId, orgId, tokenId, cost: micro, event: json } : null;
}

/**
 * Gives the segments of gateway processes that are no longer started to the first one, so that fewer processes than
 * before still finish what all of them had promised. Called while no gateway of this folder runs.
 */
export function adoptJournals(root: string, slots: readonly number[]): void {
  const first = slots[0];
  if (first === undefined || !existsSync(root)) return;
  const home = join(root, String(first));
  mkdirSync(home, { recursive: true });
  const left = readdirSync(root).filter((name) => /^\d+$/.test(name) && !slots.includes(Number(name)));
  let next = 1 + Math.max(0, ...readdirSync(home).map((name) => Number.parseInt(name, 10) || 0));
  for (const folder of left) {
    for (const name of readdirSync(join(root, folder))
      .filter((one) => NAME.test(one))
      .sort()) {
      renameSync(join(root, folder, name), join(home, `${String(next++).padStart(12, '0')}.journal`));
    }
    rmSync(join(root, folder), { recursive: true, force: true });
  }
}
