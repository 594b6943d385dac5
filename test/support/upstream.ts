import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type Answer, fails, says } from './answers.js';
import { type Asked, play } from './upstream-script.js';
import { AnswerWriter, Broken, ClientGone } from './upstream-wire.js';
import { type RawRequest, readRequests } from './wire-requests.js';

export * from './answers.js';

/** One request the fake upstream saw, and exactly what it gave for it. Fields keep growing until `endedAtMs` is set. */
export interface Seen {
  readonly number: number;
  readonly method: string;
  readonly path: string;
  /** Names in lower case; the raw lines are in `headerLines`. */
  readonly headers: ReadonlyMap<string, string>;
  readonly headerLines: readonly string[];
  readonly body: Buffer;
  readonly json: Record<string, unknown>;
  readonly atMs: number;
  /** Bytes of body handed to the operating system, without chunk framing. */
  readonly delivered: Buffer;
  /** Text of the chunks that went out whole. */
  readonly text: string;
  readonly reasoning: string;
  /** The last usage that was really sent. */
  readonly usageSent: unknown;
  /** When the client went away before the answer was over. */
  readonly abortedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly ending: 'complete' | 'fin' | 'reset' | 'hang' | 'aborted' | null;
}

export interface Upstream {
  /** `http://127.0.0.1:port/v1` */
  readonly url: string;
  readonly port: number;
  readonly requests: readonly Seen[];
  /** Answers for the next requests, in this order. A script inside the user's message (`asking`) goes first. */
  will(...answers: Answer[]): void;
  /** The answer when the queue is empty. In a child process only a fixed answer is possible. */
  always(answer: Answer | ((request: Seen) => Answer)): void;
  open(gate: string): void;
  /** Resolves when an answer waits at this gate (or has already been there). */
  reached(gate: string): Promise<void>;
  /** Resolves when this many requests have arrived, counted from the start. */
  arrived(count: number): Promise<void>;
  /** Resolves when every request seen so far has ended or its client has gone. */
  quiet(): Promise<void>;
  /** Drops the requests of these users, so that a run of hours needs no more memory than one of minutes. */
  forget(users: readonly string[]): void;
  /** Refuses connections from now on, and cuts those there are. `listen()` undoes it on the same port. */
  refuse(): Promise<void>;
  listen(): Promise<void>;
  stop(): Promise<void>;
}

const TELL_EVERY_MS = 1_000;
const MODELS = JSON.stringify({ object: 'list', data: [{ id: 'fake-model', object: 'model', created: 1_700_000_000, owned_by: 'fake' }] });

/** A scripted upstream in this process, on a free port. */
export async function startUpstream(): Promise<Upstream> {
  const state = new State();
  await state.listen();
  return state;
}

/** Leaves holes, because a request's number is its place. */
export function dropUsers(requests: Seen[], users: readonly string[]): void {
  const gone = new Set(users);
  for (const i of Object.keys(requests)) if (gone.has(String(requests[Number(i)]?.json['user']))) delete requests[Number(i)];
}

type Growing = { -readonly [Key in keyof Seen]: Seen[Key] };

class State implements Upstream {
  readonly requests: Growing[] = [];
  port = 0;
  onChange: (seen: Seen) => void = () => {};
  onGate: (name: string) => void = () => {};
  private readonly queue: Answer[] = [];
  private fallback: Answer | ((request: Seen) => Answer) = says('Hello', ' from', ' upstream');
  private readonly opened = new Set<string>();
  private readonly visited = new Set<string>();
  private waiters: { readonly ready: () => boolean; readonly go: () => void }[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.serve(socket));

  get url(): string {
    return `http://127.0.0.1:${this.port}/v1`;
  }

  will(...answers: Answer[]): void {
    this.queue.push(...answers);
  }

  always(answer: Answer | ((request: Seen) => Answer)): void {
    this.fallback = answer;
  }

  open(gate: string): void {
    this.opened.add(gate);
    this.wake();
  }

  reached(gate: string): Promise<void> {
    return this.until(() => this.visited.has(gate));
  }

  arrived(count: number): Promise<void> {
    return this.until(() => this.requests.length >= count);
  }

  quiet(): Promise<void> {
    return this.until(() => this.requests.every((seen) => seen.endedAtMs !== null));
  }

  forget(users: readonly string[]): void {
    dropUsers(this.requests, users);
  }

  async listen(): Promise<void> {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    const address = this.server.address();
    if (address && typeof address === 'object') this.port = address.port;
  }

  async refuse(): Promise<void> {
    const closed = new Promise((done) => this.server.close(done));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  async stop(): Promise<void> {
    if (this.server.listening) await this.refuse();
  }

  private until(ready: () => boolean): Promise<void> {
    if (ready()) return Promise.resolve();
    return new Promise((go) => this.waiters.push({ ready, go }));
  }

  private wake(): void {
    const free = this.waiters.filter((waiter) => waiter.ready());
    this.waiters = this.waiters.filter((waiter) => !free.includes(waiter));
    for (const waiter of free) waiter.go();
  }

  private serve(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => {}); // a reset is an ordinary ending here
    socket.on('close', () => {
      this.sockets.delete(socket);
      this.wake();
    });
    socket.on('end', () => this.wake());
    readRequests(socket, (request) => this.answer(socket, request)).catch(() => socket.destroy());
  }

  /** Answers one request; false = the socket is of no further use. */
  private async answer(socket: Socket, request: RawRequest): Promise<boolean> {
    const seen = this.write(request);
    const answer = this.choose(seen);
    const stream = answer.body === undefined && seen.json['stream'] === true;
    const writer = new AnswerWriter(socket, answer, stream ? 'text/event-stream' : 'application/json', stream ? 'chunked' : 'length');
    const asked: Asked = {
      path: seen.path,
      json: seen.json,
      number: seen.number,
      text: '',
      reasoning: '',
      usageSent: undefined,
      finished: false,
    };
    let toldMs = 0;
    const sync = (isPause = false) => {
      seen.delivered = Buffer.concat(writer.out.delivered);
      Object.assign(seen, { text: asked.text, reasoning: asked.reasoning, usageSent: asked.usageSent });
      // Hundreds of paced streams would otherwise say every event again.
      if (isPause && Date.now() - toldMs < TELL_EVERY_MS) return;
      toldMs = Date.now();
      this.onChange(seen);
    };
    const ending = await this.run(socket, answer, asked, writer, sync);
    sync();
    seen.ending = ending;
    seen.endedAtMs = Date.now();
    if (ending === 'aborted') seen.abortedAtMs = Date.now();
    this.onChange(seen);
    this.wake();
    return ending === 'complete' && writer.reusable;
  }

  private async run(
    socket: Socket,
    answer: Answer,
    asked: Asked,
    writer: AnswerWriter,
    sync: (isPause?: boolean) => void,
  ): Promise<Growing['ending']> {
    const gone = () => socket.destroyed || socket.readableEnded;
    const gate = async (name: string) => {
      sync();
      this.visited.add(name);
      this.onGate(name);
      this.wake();
      await this.until(() => this.opened.has(name) || gone());
      if (gone()) throw new ClientGone();
    };
    const delay = async (ms: number) => {
      sync(true);
      await new Promise((go) => setTimeout(go, ms));
      if (gone()) throw new ClientGone();
    };
    try {
      await play(answer, asked, writer, { gate, delay });
      return 'complete';
    } catch (failure) {
      if (failure instanceof ClientGone) {
        socket.destroy();
        return 'aborted';
      }
      if (!(failure instanceof Broken)) throw failure;
      sync();
      return this.breakOff(socket, failure.how, gone);
    }
  }

  private async breakOff(socket: Socket, how: 'fin' | 'reset' | 'hang', gone: () => boolean): Promise<Growing['ending']> {
    // libuv reports a reset that arrives together with data as a clean end; a pause lets the data be read first.
    if (how === 'reset') await new Promise((go) => setTimeout(go, 10));
    if (how === 'reset') socket.resetAndDestroy();
    if (how === 'fin') socket.end();
    if (how !== 'hang') return how;
    await this.until(gone);
    socket.destroy();
    return 'aborted';
  }

  private write(request: RawRequest): Growing {
    const seen: Growing = {
      ...request,
      number: this.requests.length + 1,
      json: parse(request.body),
      atMs: Date.now(),
      delivered: Buffer.alloc(0),
      text: '',
      reasoning: '',
      usageSent: undefined,
      abortedAtMs: null,
      endedAtMs: null,
      ending: null,
    };
    this.requests.push(seen);
    this.onChange(seen);
    this.wake();
    return seen;
  }

  private choose(seen: Seen): Answer {
    if (seen.method === 'GET' && seen.path === '/v1/models') return { body: MODELS, steps: [] };
    const own = scriptInMessage(seen.json);
    if (own) return own;
    const next = this.queue.shift();
    if (next) return next;
    if (!/^\/v1\/(chat\/completions|completions|embeddings)/.test(seen.path)) return fails(404);
    return typeof this.fallback === 'function' ? this.fallback(seen) : this.fallback;
  }
}

export type { State as UpstreamState };

function parse(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function scriptInMessage(json: Record<string, unknown>): Answer | undefined {
  const messages = json['messages'];
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  const content = (last as { content?: unknown } | undefined)?.content ?? json['prompt'] ?? json['input'];
  if (typeof content !== 'string' || !content.startsWith('{"upstream":')) return undefined;
  return (parse(Buffer.from(content)) as { upstream?: Answer }).upstream;
}
