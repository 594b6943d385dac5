import { type ChildProcess, fork } from 'node:child_process';
import { Agent, type ClientRequest, request } from 'node:http';

/** Clients in a process of their own that ask at a steady rate, whatever the answers do. */
export interface SoakClients {
  /** Asks for so long; resolves when every answer is there. */
  run(order: Order): Promise<Tally>;
  stop(): void;
}

interface Order {
  readonly url: string;
  readonly token: string;
  readonly perSecond: number;
  readonly forMs: number;
  /** Numbers of requests start here, so that no two orders share one. */
  readonly first: number;
}

export interface Tally {
  /** Requests sent, by kind. */
  readonly sent: Readonly<Record<string, number>>;
  /** Endings by kind, status and how it ended: `plain 200 whole`. */
  readonly endings: Readonly<Record<string, number>>;
  readonly next: number;
  /** Milliseconds to the whole answer of plain requests. */
  readonly p50: number;
  readonly p99: number;
}

/** Out of a hundred: 30 are streams, of which 10 are left by their client; 5 meet an upstream that fails. */
export const SHARES = { plain: 45, embedding: 16, uncounted: 6, stream: 18, left: 10, cut: 2, busy: 1, broken: 1, garbage: 1 } as const;
export type Kind = keyof typeof SHARES;
const STREAMS: ReadonlySet<string> = new Set<Kind>(['stream', 'left', 'cut']);
const DECK = Object.entries(SHARES).flatMap(([kind, share]) => Array.from({ length: share }, () => kind as Kind));

export function startSoakClients(): SoakClients {
  const child: ChildProcess = fork(new URL(import.meta.url).pathname, ['serve'], { execArgv: ['--import', 'tsx'] });
  return {
    run: (order) =>
      new Promise((resolve, reject) => {
        child.once('message', resolve);
        child.once('exit', (code) => reject(new Error(`the clients ended (${code})`)));
        child.send(order);
      }),
    stop: () => void child.kill(),
  };
}

const TICK_MS = 10;

async function serve({ url, token, perSecond, forMs, first }: Order): Promise<Tally> {
  const agent = new Agent({ keepAlive: true, maxSockets: 2_000, maxFreeSockets: 200, timeout: 60_000 });
  const counts = { sent: new Map<string, number>(), endings: new Map<string, number>(), times: [] as number[] };
  const running = new Set<Promise<void>>();
  const started = performance.now();
  let number = first;
  for (let elapsed = 0; elapsed < forMs; elapsed = performance.now() - started) {
    const due = first + Math.floor((elapsed / 1_000) * perSecond);
    for (; number < due; number++) {
      // 37 and 100 share no factor, so the deck is dealt evenly.
      const kind = DECK[(number * 37) % DECK.length] as Kind;
      add(counts.sent, kind);
      const one = ask({ url, token, agent, kind, number }).then(({ ending, ms }) => {
        add(counts.endings, `${kind} ${ending}`);
        if (kind === 'plain' && counts.times.length < 500_000) counts.times.push(ms);
      });
      running.add(one);
      void one.then(() => running.delete(one));
    }
    await new Promise((go) => setTimeout(go, TICK_MS));
  }
  await Promise.all(running);
  agent.destroy();
  const times = Float64Array.from(counts.times).sort();
  const at = (share: number): number => Math.round(times[Math.floor(times.length * share)] ?? 0);
  return { sent: Object.fromEntries(counts.sent), endings: Object.fromEntries(counts.endings), next: number, p50: at(0.5), p99: at(0.99) };
}

const add = (counts: Map<string, number>, key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1);

interface Asked {
  readonly url: string;
  readonly token: string;
  readonly agent: Agent;
  readonly kind: Kind;
  readonly number: number;
}

const PATIENCE_MS = 30_000;

export function bodyOf(kind: Kind): string {
  const isEmbedding = kind === 'embedding';
  const words = isEmbedding ? { input: 'a sentence to embed' } : { messages: [{ role: 'user', content: 'Say something in ten words.' }] };
  return JSON.stringify({
    model: 'fake-model',
    user: kind,
    ...words,
    ...(STREAMS.has(kind) ? { stream: true } : {}),
    ...(isEmbedding ? {} : { max_tokens: 50 }),
  });
}

function ask({ url, token, agent, kind, number }: Asked): Promise<{ ending: string; ms: number }> {
  const isStream = STREAMS.has(kind);
  const isEmbedding = kind === 'embedding';
  const body = bodyOf(kind);
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-request-id': `${kind}-${number}`,
  };
  const from = performance.now();
  return new Promise((resolve) => {
    const done = (ending: string): void => {
      clearTimeout(late);
      resolve({ ending, ms: performance.now() - from });
    };
    const asked: ClientRequest = request(
      `${url}/v1/${isEmbedding ? 'embeddings' : 'chat/completions'}`,
      { method: 'POST', agent, headers },
      (answer) => {
        let events = 0;
        let tail = '';
        answer.setEncoding('latin1');
        answer.on('data', (part: string) => {
          events += part.split('data: ').length - 1;
          tail = (tail + part).slice(-1_000);
          if (kind !== 'left' || events < 2) return;
          asked.destroy();
          done(`${answer.statusCode} left`);
        });
        answer.on('end', () =>
          done(`${answer.statusCode} ${!isStream || tail.includes('[DONE]') ? 'whole' : tail.includes('"error"') ? 'error' : 'short'}`),
        );
        answer.on('error', () => done(`${answer.statusCode} broken`));
      },
    );
    const late = setTimeout(() => {
      asked.destroy();
      done('hung');
    }, PATIENCE_MS);
    asked.on('error', (error: NodeJS.ErrnoException) => done(`no answer ${error.code ?? ''}`));
    asked.end(body);
  });
}

if (process.argv[2] === 'serve' && process.send) {
  process.on('message', (order: Order) => void serve(order).then((tally) => process.send?.(tally)));
  process.once('disconnect', () => process.exit(0));
}
