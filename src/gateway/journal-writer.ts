import { closeSync, fdatasync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry, Segment } from './entries.js';

export interface WriterOptions {
  readonly folder: string;
  readonly segmentBytes: number;
  /** 0 = leave it to the operating system. */
  readonly syncMs?: number;
  onTrouble(words: string | null): void;
}

export const SEGMENT_NAME = /^\d{12}\.journal$/;

/** Nobody else on the machine needs to know who asks for what. */
export const MINE = 0o600;

const TRY_AGAIN_MS = 1_000;

/** Appends everything of one turn of the event loop in one write: a write each would cost a tenth of all our time. */
export class Writer {
  /** What earlier lives left, until somebody has read it; nothing in there is deleted before. */
  readonly unread: Segment[];
  current: Segment;
  healthy = true;
  private readonly segments: Segment[];
  private readonly folder: string;
  private readonly segmentBytes: number;
  private readonly options: WriterOptions;
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

  constructor(options: WriterOptions) {
    const { folder, segmentBytes } = options;
    this.folder = folder;
    this.segmentBytes = segmentBytes;
    this.options = options;
    const names = readdirSync(folder).filter((name) => SEGMENT_NAME.test(name));
    this.segments = names.sort().map((name) => ({ path: join(folder, name), bytes: statSync(join(folder, name)).size, open: 1 }));
    this.unread = [...this.segments];
    this.next = 1 + Math.max(0, ...names.map((name) => Number.parseInt(name, 10)));
    this.current = this.begin();
    this.fd = openSync(this.current.path, 'a', MINE);
    const every = options.syncMs ?? 0;
    this.timer = every > 0 ? setInterval(() => fdatasync(this.fd, () => undefined), every) : null;
    this.timer?.unref();
    while (this.unread[0]?.bytes === 0) this.wasRead();
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** The first of what was unread has been read: from here on only what is open in it keeps it. */
  wasRead(): void {
    const segment = this.unread.shift();
    if (segment) this.let(segment);
  }

  /** At the end of this turn. */
  append(head: string, json: string): void {
    this.lines.push(head, json, '\n');
    this.flushSoon();
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
    if (before) this.let(before);
  }

  private let(segment: Segment): void {
    segment.open -= 1;
    if (segment.open <= 0 && segment !== this.current) this.drop(segment);
  }

  stands(segment: Segment): boolean {
    return this.segments.includes(segment);
  }

  bytes(): number {
    return this.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  close(): void {
    this.flush();
    this.closed = true;
    if (this.timer) clearInterval(this.timer);
    closeSync(this.fd);
    // It may say what of the others is booked.
    if (this.current.open <= 0 && (this.segments.length === 1 || this.current.bytes === 0)) this.drop(this.current);
  }

  /** A partial write before the disk was full leaves a torn line; the next one starts on a line of its own. */
  private write(text: string): number {
    const data = Buffer.from(this.healthy ? text : `\n${text}`);
    for (let written = 0; written < data.length; ) written += writeSync(this.fd, data, written);
    return data.length;
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
      const fd = openSync(segment.path, 'a', MINE);
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

  private drop(segment: Segment): void {
    const at = this.segments.indexOf(segment);
    if (at >= 0) this.segments.splice(at, 1);
    rmSync(segment.path, { force: true });
  }
}
