import { type ChildProcess, fork } from 'node:child_process';
import { connect, type Socket } from 'node:net';

/** Clients that know no pity, in a process of their own: kept connections, and the least reading that tells one answer from another. */
export interface Crush {
  /** As many as fit, one after the other on each connection. */
  closed(order: Order): Promise<Crushed>;
  /** At a rate, whatever comes back; what cannot be sent because every connection waits is counted. */
  open(order: Order & { readonly perSecond: number }): Promise<Crushed>;
  /** Connections that say nothing, and ones that say a byte a second, kept until `release`. */
  hold(order: { readonly port: number; readonly idle: number; readonly slow: number }): Promise<{ readonly open: number }>;
  release(): Promise<{ readonly open: number }>;
  readonly pid: number;
  stop(): void;
}

interface Order {
  readonly port: number;
  readonly request: string;
  readonly connections: number;
  readonly forMs: number;
}

export interface Crushed {
  /** A second, by status. */
  readonly rates: Readonly<Record<string, number>>;
  readonly offered: number;
  /** Milliseconds. */
  readonly served: { readonly p50: number; readonly p99: number };
  readonly refused: { readonly p50: number; readonly p99: number };
}

type Job =
  | ({ readonly kind: 'closed' | 'open'; readonly perSecond: number } & Order)
  | { readonly kind: 'hold'; readonly port: number; readonly idle: number; readonly slow: number }
  | { readonly kind: 'release' };

export function startCrush(): Crush {
  const child: ChildProcess = fork(new URL(import.meta.url).pathname, ['serve'], { execArgv: ['--import', 'tsx'] });
  const ask = <T>(job: Job): Promise<T> =>
    new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the clients ended'));
      child.once('exit', gone);
      child.once('message', (news: T) => {
        child.off('exit', gone);
        resolve(news);
      });
      child.send(job);
    });
  return {
    closed: (order) => ask({ kind: 'closed', perSecond: 0, ...order }),
    open: (order) => ask({ kind: 'open', ...order }),
    hold: (order) => ask({ kind: 'hold', ...order }),
    release: () => ask({ kind: 'release' }),
    pid: child.pid ?? 0,
    stop: () => void child.kill(),
  };
}

class Client {
  private socket: Socket | undefined;
  private rest = '';
  private sentAtMs = 0;
  private done: ((status: string, ms: number) => void) | undefined;
  private readonly port: number;

  constructor(port: number) {
    this.port = port;
  }

  ask(request: string): Promise<{ status: string; ms: number }> {
    return new Promise((resolve) => {
      this.done = (status, ms) => resolve({ status, ms });
      this.sentAtMs = performance.now();
      this.rest = '';
      if (!this.socket || this.socket.destroyed) this.open();
      this.socket?.write(request);
    });
  }

  close(): void {
    this.done = undefined;
    this.socket?.destroy();
  }

  private open(): void {
    const socket = connect({ port: this.port, host: '127.0.0.1', noDelay: true });
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => this.read(bytes));
    socket.on('close', () => socket === this.socket && this.finish('closed'));
  }

  private read(bytes: Buffer): void {
    this.rest += bytes.toString('latin1');
    const end = this.rest.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.rest.slice(0, end);
    const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (this.rest.length < end + 4 + length) return;
    if (/connection: *close/i.test(head)) {
      this.socket?.destroy();
      this.socket = undefined;
    }
    this.finish(head.slice(9, 12));
  }

  private finish(status: string): void {
    const done = this.done;
    this.done = undefined;
    done?.(status, performance.now() - this.sentAtMs);
  }
}

class Notes {
  readonly counts = new Map<string, number>();
  private readonly served: number[] = [];
  private readonly refused: number[] = [];
  private readonly started = performance.now();

  note(status: string, ms: number): void {
    this.counts.set(status, (this.counts.get(status) ?? 0) + 1);
    if (status === '200') this.served.push(ms);
    if (status === '503' || status === '429') this.refused.push(ms);
  }

  sum(offered: number): Crushed {
    const seconds = (performance.now() - this.started) / 1_000;
    const rates = Object.fromEntries([...this.counts].map(([status, count]) => [status, Math.round(count / seconds)]));
    return { rates, offered: Math.round(offered / seconds), served: quantiles(this.served), refused: quantiles(this.refused) };
  }
}

function quantiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99) };
}

async function closed({ port, request, connections, forMs }: Order): Promise<Crushed> {
  const until = performance.now() + forMs;
  const notes = new Notes();
  let offered = 0;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const client = new Client(port);
      while (performance.now() < until) {
        offered += 1;
        const { status, ms } = await client.ask(request);
        notes.note(status, ms);
      }
      client.close();
    }),
  );
  return notes.sum(offered);
}

const TICK_MS = 5;
const AT_A_TIME = 50;
const HELLO = 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n';

async function open({ port, request, connections, forMs, perSecond }: Order & { perSecond: number }): Promise<Crushed> {
  const clients = Array.from({ length: connections }, () => new Client(port));
  // They are there before the storm begins: how fast new ones are let in is another question.
  for (let i = 0; i < connections; i += AT_A_TIME) await Promise.all(clients.slice(i, i + AT_A_TIME).map((client) => client.ask(HELLO)));
  const notes = new Notes();
  const started = performance.now();
  // Looking for one among thousands that all wait would take this process, and the upstream beside it, most of their time.
  const free = [...clients];
  let due = 0;
  for (let elapsed = 0; elapsed < forMs; elapsed = performance.now() - started) {
    for (const target = (elapsed / 1_000) * perSecond; due < target; due++) {
      const client = free.pop();
      if (!client) {
        notes.note('unsent', 0);
        continue;
      }
      void client.ask(request).then(({ status, ms }) => {
        notes.note(status, ms);
        free.push(client);
      });
    }
    await new Promise((go) => setTimeout(go, TICK_MS));
  }
  const result = notes.sum(due);
  for (const client of clients) client.close();
  return result;
}

const held = new Set<Socket>();
let slowly: NodeJS.Timeout | undefined;

async function hold({ port, idle, slow }: { port: number; idle: number; slow: number }): Promise<{ open: number }> {
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' });
      held.add(socket);
      socket.on('connect', () => resolve());
      socket.on('error', () => resolve());
      socket.on('close', () => held.delete(socket));
      socket.resume();
    });
  for (let done = 0; done < idle + slow; done += 250) await Promise.all(Array.from({ length: Math.min(250, idle + slow - done) }, one));
  const dripping = [...held].slice(0, slow);
  for (const socket of dripping) socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ');
  slowly = setInterval(() => {
    for (const socket of dripping) if (!socket.destroyed) socket.write('a');
  }, 1_000);
  return { open: held.size };
}

function release(): { open: number } {
  clearInterval(slowly);
  const open = held.size;
  for (const socket of held) socket.destroy();
  return { open };
}

async function work(job: Job): Promise<object> {
  if (job.kind === 'closed') return closed(job);
  if (job.kind === 'open') return open(job);
  return job.kind === 'hold' ? hold(job) : release();
}

if (process.argv[2] === 'serve' && process.send) {
  process.on('message', (job: Job) => void work(job).then((news) => process.send?.(news)));
  process.once('disconnect', () => process.exit(0));
}
