import { endOfValue } from './json.js';
import { countEvents, Kept } from './kept.js';
import { finderOf, lastFinderOf } from './search.js';

/**
 * Watches a stream of server-sent events go by. Whole events pass untouched, in the buffers they came in; the trailing
 * incomplete one waits for its end, so that a usage chunk the client did not ask for, or an upstream's error with a key
 * in it, can be taken out, and so that a cut never leaves half an event before our own error frame.
 */
export interface Passed {
  /** Bytes for the client now; null = none. */
  readonly out: Buffer | null;
  /** The upstream reported a failure inside the stream: nothing after it counts. */
  readonly failed: boolean;
}

const findError = finderOf('"error"');
const findChoices = finderOf('"choices"');
const findLastUsage = lastFinderOf('"usage"');
const findReason = finderOf('"finish_reason"');
const findLastReason = lastFinderOf('"finish_reason"');

const PENDING_BYTES_MAX = 64 * 1024;
const TAIL_BYTES = 64 * 1024;
/** Each costs ten times what a good one does. Whoever sends so many that only look like an error or a report sends neither. */
const UNREADABLE_MAX = 500;
const NOTHING: Passed = { out: null, failed: false };

export class StreamMeter {
  /** Everything the client was given, for counting when the upstream does not; the beginning, once there was too much of it. */
  private readonly kept = new Kept();
  /** True when output went by that is no longer kept. */
  overflowed = false;
  deliveredBytes = 0;
  private tail: Buffer[] = [];
  private tailBytes = 0;
  private pending: Buffer | null = null;
  private insideHuge = false;
  private hiddenUsage: unknown;
  private unkept = 0;
  private unreadable = 0;
  private readonly hideUsage: boolean;
  private readonly keepBytesMax: number;

  constructor(options: { readonly hideUsage: boolean; readonly keepBytesMax: number }) {
    this.hideUsage = options.hideUsage;
    this.keepBytesMax = options.keepBytesMax;
  }

  push(chunk: Buffer): Passed {
    const data = this.pending ? Buffer.concat([this.pending, chunk]) : chunk;
    this.pending = null;
    const end = endOfLastEvent(data);
    if (end < data.length) {
      if (data.length - end <= PENDING_BYTES_MAX && !(this.insideHuge && end === 0)) this.pending = data.subarray(end);
      else {
        this.insideHuge = true;
        return this.pass(data);
      }
    } else this.insideHuge = false;
    return end === 0 ? NOTHING : this.inspect(end === data.length ? data : data.subarray(0, end));
  }

  /** The upstream closed: what waits is passed as it is, whole or not. */
  finish(): Passed {
    const rest = this.pending;
    this.pending = null;
    return rest ? this.inspect(rest) : NOTHING;
  }

  /** Server-sent events delivered so far; counted when somebody asks, not while they pass. */
  eventsDelivered(): number {
    return this.kept.eventsSoFar() + this.unkept;
  }

  /** What was kept of it, in pieces. */
  delivered(): readonly Buffer[] {
    return this.kept.pieces();
  }

  /** Events that went by after keeping stopped. */
  uncountedEvents(): number {
    return this.overflowed ? this.unkept : 0;
  }

  /** The client has half an event: only when one was too large to be held back. */
  endsOpen(): boolean {
    return this.insideHuge;
  }

  /** The last usage object of the stream, as the upstream wrote it. */
  usage(): unknown {
    if (this.hiddenUsage !== undefined) return this.hiddenUsage;
    const near = lastUsage(this.lastBytes());
    return near !== undefined || this.overflowed ? near : lastUsage(Buffer.concat(this.kept.pieces()));
  }

  sawDone(): boolean {
    const tail = this.lastBytes();
    const at = Math.max(tail.lastIndexOf('data: [DONE]'), tail.lastIndexOf('data:[DONE]'));
    return at === 0 || (at > 0 && (tail[at - 1] === LF || tail[at - 1] === CR));
  }

  /** The last finish reason, for the row; a look at the end, not a reading of the whole stream. */
  lastFinishReason(): string | null {
    return lastFinishReason(this.lastBytes());
  }

  /** Finish reasons by choice, from the end of the stream. */
  finishReasons(): Map<number, string> {
    const reasons = new Map<number, string>();
    untraced(() => {
      let unreadable = 0;
      for (const event of eventsOf(this.lastBytes())) {
        if (unreadable === UNREADABLE_MAX || findReason(event, 0) < 0) continue;
        const data = parseData(event);
        if (data === NO_DATA) unreadable += 1;
        for (const choice of choicesOf(data)) {
          if (typeof choice.finish_reason === 'string') reasons.set(Number(choice.index ?? 0), choice.finish_reason);
        }
      }
    });
    return reasons;
  }

  private inspect(events: Buffer): Passed {
    if (findError(events, 0) < 0 && !(this.hideUsage && hasEmptyChoices(events))) return this.pass(events);
    return untraced(() => this.sift(events));
  }

  private sift(events: Buffer): Passed {
    const out: Buffer[] = [];
    for (const event of eventsOf(events)) {
      const isAsked = this.unreadable < UNREADABLE_MAX && (findError(event, 0) >= 0 || (this.hideUsage && hasEmptyChoices(event)));
      const data = isAsked ? parseData(event) : NO_DATA;
      if (isAsked && data === NO_DATA) this.unreadable += 1;
      if (isFailure(data)) return { out: this.keep(out), failed: true };
      if (this.hideUsage && isUsageOnly(data)) this.hiddenUsage = data['usage'];
      else out.push(event);
    }
    return { out: this.keep(out), failed: false };
  }

  private keep(parts: Buffer[]): Buffer | null {
    return parts.length ? this.pass(Buffer.concat(parts)).out : null;
  }

  private pass(bytes: Buffer): Passed {
    this.deliveredBytes += bytes.length;
    if (!this.overflowed && this.kept.bytes + bytes.length <= this.keepBytesMax) this.kept.add(bytes);
    else {
      if (!this.overflowed) this.tail.push(this.lastBytes());
      this.overflowed = true;
      this.unkept += countEvents(bytes);
      this.tail.push(bytes);
      this.tailBytes += bytes.length;
      if (this.tailBytes > 4 * TAIL_BYTES) this.shortenTail();
    }
    return { out: bytes, failed: false };
  }

  private shortenTail(): void {
    this.tail = [Buffer.from(lastOf(this.tail, TAIL_BYTES))];
    this.tailBytes = TAIL_BYTES;
  }

  private lastBytes(): Buffer {
    return lastOf(this.overflowed ? this.tail : this.kept.pieces(), TAIL_BYTES);
  }
}

type Json = Readonly<Record<string, unknown>>;

function lastOf(buffers: readonly Buffer[], bytes: number): Buffer {
  const last: Buffer[] = [];
  let size = 0;
  for (let i = buffers.length - 1; i >= 0 && size < bytes; i--) {
    const buffer = buffers[i];
    if (!buffer) break;
    last.unshift(buffer);
    size += buffer.length;
  }
  const [only] = last;
  return last.length === 1 && only ? only : Buffer.concat(last);
}

const LF = 10;
const CR = 13;

/** The index after the last blank line; 0 when there is none. */
function endOfLastEvent(data: Buffer): number {
  const length = data.length;
  if (length >= 2 && data[length - 1] === LF && (data[length - 2] === LF || (data[length - 2] === CR && data[length - 3] === LF)))
    return length;
  return Math.max(after(data, '\n\n'), after(data, '\r\n\r\n'), after(data, '\r\r'));
}

function after(data: Buffer, separator: string): number {
  const at = data.lastIndexOf(separator, undefined, 'latin1');
  return at < 0 ? 0 : at + separator.length;
}

/** Cuts bytes into events, each with its blank line; a last piece without one counts too. */
function* eventsOf(bytes: Buffer): Generator<Buffer> {
  let start = 0;
  // Where each kind of blank line comes next; looked for again only when it is behind, or thousands of events take the square of that.
  let [lf, crlf, cr] = [0, 0, 0];
  while (start < bytes.length) {
    if (lf <= start) lf = after1(bytes, '\n\n', start);
    if (crlf <= start) crlf = after1(bytes, '\r\n\r\n', start);
    if (cr <= start) cr = after1(bytes, '\r\r', start);
    const end = Math.min(lf, crlf, cr);
    yield bytes.subarray(start, end);
    start = end;
  }
}

function after1(bytes: Buffer, separator: string, from: number): number {
  const at = bytes.indexOf(separator, from, 'latin1');
  return at < 0 ? bytes.length : at + separator.length;
}

/** Nearly every event is one line of data. */
function dataOf(event: string): string {
  if (event.startsWith('data:') && !event.includes('\n') && !event.includes('\r')) return event.slice(5);
  const lines = event.split(/\r\n|\n|\r/).filter((line) => line.startsWith('data:'));
  return lines.map((line) => line.slice(line[5] === ' ' ? 6 : 5)).join('\n');
}

/** The JSON of an event's data lines; `NO_DATA` when it is none. */
function parseData(event: Buffer): Json {
  try {
    const value: unknown = JSON.parse(dataOf(event.toString('utf8').trimEnd()));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : NO_DATA;
  } catch {
    return NO_DATA;
  }
}

const NO_DATA: Json = Object.freeze({});

/** Thousands of events that are no JSON come in one piece, and where each error was made is most of what it costs. */
function untraced<T>(act: () => T): T {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return act();
  } finally {
    Error.stackTraceLimit = before;
  }
}

const isFailure = (data: Json): boolean => data['error'] !== undefined && data['error'] !== null;

const isUsageOnly = (data: Json): boolean =>
  Array.isArray(data['choices']) && data['choices'].length === 0 && typeof data['usage'] === 'object' && data['usage'] !== null;

function choicesOf(data: Json): { readonly index?: unknown; readonly finish_reason?: unknown }[] {
  return Array.isArray(data['choices']) ? data['choices'].filter((choice) => typeof choice === 'object' && choice !== null) : [];
}

/** `"choices":[]`, whatever the white space. */
function hasEmptyChoices(events: Buffer): boolean {
  for (let at = findChoices(events, 0); at >= 0; at = findChoices(events, at + 9)) {
    const colon = skip(events, at + 9);
    const bracket = skip(events, colon + 1);
    if (events[colon] === 0x3a && events[bracket] === 0x5b && events[skip(events, bracket + 1)] === 0x5d) return true;
  }
  return false;
}

function skip(bytes: Buffer, at: number): number {
  let i = at;
  while (bytes[i] === 0x20 || bytes[i] === 0x09) i += 1;
  return i;
}

/**
 * The last `"usage": {…}` in the bytes, parsed. A model's own text cannot fake it: quotes inside JSON strings are
 * escaped, so `"usage"` with bare quotes is a key.
 */
export function lastUsage(bytes: Buffer): unknown {
  for (let at = findLastUsage(bytes, bytes.length); at >= 0; at = findLastUsage(bytes, at - 1)) {
    const colon = skip(bytes, at + 7);
    const start = skip(bytes, colon + 1);
    if (bytes[colon] !== 0x3a || bytes[start] !== 0x7b) continue;
    const from = bytes.subarray(start, start + USAGE_BYTES_MAX);
    try {
      // Only its numbers are read, and as single bytes it is read in half the time.
      return JSON.parse(from.toString('latin1', 0, endOfValue(from, 0)));
    } catch {
      return { unreadable: true };
    }
  }
  return undefined;
}

/** A report has a dozen numbers. What is longer is none. */
const USAGE_BYTES_MAX = 16 * 1024;
const REASONS_MAX = 64;

/** The last finish reason that is a word; chunks before the end say null. */
export function lastFinishReason(bytes: Buffer): string | null {
  let at = findLastReason(bytes, bytes.length);
  for (let i = 0; at >= 0 && i < REASONS_MAX; i++) {
    const word = wordAfter(bytes, at + 15);
    if (word !== null) return word;
    at = findLastReason(bytes, at - 1);
  }
  return null;
}

const QUOTE = 0x22;
const WORD_BYTES_MAX = 40;
/** Nearly always it is this word; to make a text of bytes costs ten times as much as to know it. */
const STOP = 0x73_74_6f_70;

/** The value of a key when it is a short word in quotes. */
function wordAfter(bytes: Buffer, at: number): string | null {
  const colon = skipBlank(bytes, at);
  const quote = skipBlank(bytes, colon + 1);
  if (bytes[colon] !== 0x3a || bytes[quote] !== QUOTE) return null;
  const start = quote + 1;
  let end = start;
  while (end - start <= WORD_BYTES_MAX && isWordByte(bytes[end] ?? 0)) end += 1;
  if (bytes[end] !== QUOTE || end === start || end - start > WORD_BYTES_MAX) return null;
  return end - start === 4 && bytes.readUInt32BE(start) === STOP ? 'stop' : bytes.toString('latin1', start, end);
}

/** Letters, digits and the underscore. */
const isWordByte = (byte: number): boolean =>
  (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x5f;

/** As far as anybody's layout goes; a body of nothing but spaces is not walked through. */
const BLANKS_MAX = 32;

function skipBlank(bytes: Buffer, at: number): number {
  let i = at;
  while (i - at < BLANKS_MAX && (bytes[i] === 0x20 || bytes[i] === LF || bytes[i] === CR || bytes[i] === 0x09)) i += 1;
  return i;
}
