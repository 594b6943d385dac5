import { connect, type Socket } from 'node:net';

/**
 * A small, strict HTTP client on a raw socket. HTTP libraries repair faults; this one reports them: it keeps every byte,
 * checks the framing, and lets a test read slowly, stop reading, half-close or reset at any point.
 */
export interface Call {
  /** Status and headers, as soon as they are whole. Rejects when the connection ends before that. */
  head(): Promise<Head>;
  /** The next event, or undefined at the end of the body. */
  next(): Promise<SseEvent | undefined>;
  /** Reads events until one whose data contains this text. */
  until(text: string): Promise<SseEvent>;
  /** Reads everything there is. Never rejects: `ending` says how it went. */
  end(): Promise<Result>;
  /** Stops reading from the socket; the kernel's buffers fill up and the server feels it. */
  pause(): void;
  resume(): void;
  /** Reads about this many bytes a second from now on. */
  readSlowly(bytesPerSecond: number): void;
  /** Closes our direction only. */
  halfClose(): void;
  /** Ends the connection with RST. */
  reset(): void;
  /** Ends the connection with FIN, at once and in both directions. */
  hangUp(): void;
  /** Sends bytes as they are, e.g. the rest of a body. */
  send(bytes: string | Buffer): void;
}

export interface Head {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly lines: readonly string[];
}

export interface SseEvent {
  readonly data: string;
  /** The data as JSON, undefined for `[DONE]` and anything else that is not JSON. */
  readonly json: Record<string, unknown> | undefined;
}

export interface Result {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of body without chunk framing. */
  readonly body: Buffer;
  /** Everything that came over the wire. */
  readonly wire: Buffer;
  readonly events: readonly SseEvent[];
  readonly done: boolean;
  /** Text of all `delta.content` (or `text`) of choice 0. */
  readonly text: string;
  /** `complete`: the framing says the body is whole. `truncated`: closed too early. `reset`: cut. `no_answer`: nothing came. */
  readonly ending: 'complete' | 'truncated' | 'reset' | 'no_answer';
  readonly json: Record<string, unknown> | undefined;
  /** When its first bytes came; null = never. */
  readonly begunMs: number | null;
}

export interface CallOptions {
  readonly method?: string;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly body?: string | Buffer;
  /** Sent instead of everything else. */
  readonly raw?: string | Buffer;
}

/** Opens a connection of its own and sends one request. */
export function call(url: string, options: CallOptions = {}): Call {
  const target = new URL(url);
  const socket = connect({ host: target.hostname, port: Number(target.port), allowHalfOpen: true, noDelay: true });
  const exchange = new Exchange(socket);
  socket.write(options.raw ?? requestBytes(target, options));
  return exchange;
}

/** One whole exchange. */
export const ask = (url: string, options: CallOptions = {}): Promise<Result> => call(url, options).end();

function requestBytes(target: URL, options: CallOptions): Buffer {
  const body = options.json === undefined ? Buffer.from(options.body ?? '') : Buffer.from(JSON.stringify(options.json));
  const method = options.method ?? (body.length > 0 ? 'POST' : 'GET');
  const lines = [`${method} ${target.pathname}${target.search} HTTP/1.1`, `Host: ${target.host}`, 'Connection: close'];
  if (options.token) lines.push(`Authorization: Bearer ${options.token}`);
  if (options.json !== undefined) lines.push('Content-Type: application/json');
  for (const [name, value] of Object.entries(options.headers ?? {})) lines.push(`${name}: ${value}`);
  if (body.length > 0 || method === 'POST') lines.push(`Content-Length: ${body.length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n');

class Exchange implements Call {
  private readonly socket: Socket;
  private readonly chunks: Buffer[] = [];
  private closed: 'fin' | 'reset' | null = null;
  private waiters: (() => void)[] = [];
  private eventsTaken = 0;
  private slow: NodeJS.Timeout | undefined;
  private received = 0;
  private begunMs: number | null = null;
  private firstHead: Head | undefined;
  private cache: { length: number; events: readonly SseEvent[]; complete: boolean } = { length: -1, events: [], complete: false };

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.chunks.push(bytes);
      this.received += bytes.length;
      this.begunMs ??= Date.now();
      this.wake();
    });
    socket.on('end', () => this.close('fin'));
    socket.on('error', () => this.close('reset'));
    socket.on('close', () => this.close('reset'));
  }

  async head(): Promise<Head> {
    for (;;) {
      const head = parseHead(this.wire());
      if (head) return head;
      if (this.closed) throw new Error(`the connection ended (${this.closed}) before an answer`);
      await this.more();
    }
  }

  async next(): Promise<SseEvent | undefined> {
    for (;;) {
      const event = this.parsed().events[this.eventsTaken];
      if (event) {
        this.eventsTaken += 1;
        return event;
      }
      if (this.closed || this.parsed().complete) return undefined;
      await this.more();
    }
  }

  async until(text: string): Promise<SseEvent> {
    for (;;) {
      const event = await this.next();
      if (!event) throw new Error(`the stream ended before an event with ${text}`);
      if (event.data.includes(text)) return event;
    }
  }

  async end(): Promise<Result> {
    while (!this.closed && !(this.mayBeComplete() && this.parsed().complete)) await this.more();
    const wire = this.wire();
    const head = parseHead(wire);
    const { body, complete } = parseBody(wire, this.closed === 'fin');
    const events = parseEvents(body);
    this.hangUp();
    return {
      status: head?.status ?? 0,
      headers: head?.headers ?? new Map(),
      body,
      wire,
      events,
      done: events.some((event) => event.data === '[DONE]'),
      text: events.map(textOf).join(''),
      ending: complete ? 'complete' : !head ? 'no_answer' : this.closed === 'reset' ? 'reset' : 'truncated',
      json: parseJson(body.toString('utf8')),
      begunMs: this.begunMs,
    };
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    clearInterval(this.slow);
    this.socket.resume();
  }

  readSlowly(bytesPerSecond: number): void {
    this.socket.pause();
    this.slow = setInterval(() => {
      // Reading emits 'data', paused or not, and the listener keeps the bytes.
      if (this.socket.read(Math.max(1, Math.floor(bytesPerSecond / 20))) === null) this.socket.read();
    }, 50);
  }

  halfClose(): void {
    this.socket.end();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  hangUp(): void {
    clearInterval(this.slow);
    this.socket.destroy();
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  private wire(): Buffer {
    if (this.chunks.length > 1) this.chunks.splice(0, this.chunks.length, Buffer.concat(this.chunks));
    return this.chunks[0] ?? Buffer.alloc(0);
  }

  /** Parsed again only when more has come. */
  private parsed(): { readonly events: readonly SseEvent[]; readonly complete: boolean } {
    const wire = this.wire();
    if (this.cache.length !== wire.length || wire.length === 0) {
      const { body, complete } = parseBody(wire, false);
      this.cache = { length: wire.length, events: parseEvents(body), complete };
    }
    return this.cache;
  }

  /** A cheap look first, so that a body of many megabytes is not parsed with every packet. */
  private mayBeComplete(): boolean {
    const last = this.chunks.at(-1);
    if (!last) return false;
    this.firstHead ??= parseHead(this.wire());
    const length = this.firstHead?.headers.get('content-length');
    if (length !== undefined) return this.received >= Number(length);
    return last.length < 5 || last.subarray(-5).equals(LAST_CHUNK) || this.firstHead?.headers.get('transfer-encoding') !== 'chunked';
  }

  private more(): Promise<void> {
    return new Promise((go) => this.waiters.push(go));
  }

  private wake(): void {
    for (const go of this.waiters.splice(0)) go();
  }

  private close(how: 'fin' | 'reset'): void {
    this.closed ??= how;
    clearInterval(this.slow);
    this.wake();
  }
}

function parseHead(wire: Buffer): Head | undefined {
  const end = wire.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = wire.toString('latin1', 0, end).split('\r\n');
  const match = /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(first);
  if (!match) throw new Error(`not an HTTP/1.1 status line: ${first}`);
  const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  return { status: Number(match[1]), headers, lines };
}

function parseBody(wire: Buffer, closed: boolean): { body: Buffer; complete: boolean } {
  const head = parseHead(wire);
  if (!head) return { body: Buffer.alloc(0), complete: false };
  const rest = wire.subarray(wire.indexOf('\r\n\r\n') + 4);
  if (head.headers.get('transfer-encoding') === 'chunked') return parseChunks(rest);
  const length = head.headers.get('content-length');
  if (length !== undefined) {
    if (rest.length > Number(length)) throw new Error(`${rest.length} bytes of body, but Content-Length says ${length}`);
    return { body: rest, complete: rest.length === Number(length) };
  }
  if (head.status === 204 || head.status === 304) return { body: rest, complete: true };
  return { body: rest, complete: closed };
}

function parseChunks(rest: Buffer): { body: Buffer; complete: boolean } {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const line = rest.indexOf('\r\n', at);
    if (line < 0) return { body: Buffer.concat(parts), complete: false };
    const text = rest.toString('latin1', at, line);
    if (!/^[0-9a-fA-F]+$/.test(text)) throw new Error(`bad chunk size: ${JSON.stringify(text)}`);
    const size = Number.parseInt(text, 16);
    const piece = rest.subarray(line + 2, line + 2 + size);
    if (size > 0) parts.push(piece);
    const end = line + 2 + size;
    if (rest.length < end + 2) return { body: Buffer.concat(parts), complete: false };
    if (rest.toString('latin1', end, end + 2) !== '\r\n') throw new Error('a chunk does not end with CRLF');
    if (size === 0) return { body: Buffer.concat(parts), complete: true };
    at = end + 2;
  }
}

/** Whole events only, by the rules of the format: CR, LF or CRLF, comments, data over several lines, a BOM in front. */
function parseEvents(body: Buffer): SseEvent[] {
  const text = body
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replaceAll('\r\n', '\n')
    .replaceAll('\r', '\n');
  const blocks = text.split('\n\n').slice(0, -1);
  return blocks.flatMap((block) => {
    const data = block.split('\n').filter((line) => line.startsWith('data:'));
    if (data.length === 0) return [];
    const joined = data.map((line) => line.slice(line.startsWith('data: ') ? 6 : 5)).join('\n');
    return [{ data: joined, json: parseJson(joined) }];
  });
}

function textOf(event: SseEvent): string {
  const choices = event.json?.['choices'];
  const first: unknown = Array.isArray(choices) ? choices.find((choice) => (choice as { index?: unknown }).index === 0) : undefined;
  const choice = first as { delta?: { content?: unknown }; text?: unknown } | undefined;
  const text = choice?.delta?.content ?? choice?.text;
  return typeof text === 'string' ? text : '';
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
