import { type ChildProcess, fork } from 'node:child_process';
import { request } from 'node:http';

/** Asks one URL again and again from a process of its own, because this one is busy being a crowd. */
export interface Prober {
  /** Milliseconds from now until an answer other than 2xx, or none, was there. */
  untilBad(url: string): Promise<number>;
  /** Asks for so long, and says how long each answer took. */
  times(url: string, forMs: number): Promise<{ readonly ms: readonly number[]; readonly bad: number }>;
  readonly pid: number;
  stop(): void;
}

type Order = { readonly url: string; readonly forMs: number };
type News = { readonly ms: readonly number[]; readonly bad: number; readonly firstBadMs: number };

export function startProber(): Prober {
  const child: ChildProcess = fork(new URL(import.meta.url).pathname, ['probe'], { execArgv: ['--import', 'tsx'] });
  const ask = (order: Order): Promise<News> =>
    new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the prober ended'));
      child.once('exit', gone);
      child.once('message', (news: News) => {
        child.off('exit', gone);
        resolve(news);
      });
      child.send(order);
    });
  return {
    untilBad: async (url) => (await ask({ url, forMs: 0 })).firstBadMs,
    times: (url, forMs) => ask({ url, forMs }),
    pid: child.pid ?? 0,
    stop: () => void child.kill(),
  };
}

const LONGEST_MS = 5_000;

async function probe({ url, forMs }: Order): Promise<News> {
  const started = performance.now();
  const ms: number[] = [];
  let bad = 0;
  for (;;) {
    const from = performance.now();
    const isGood = await one(url);
    ms.push(performance.now() - from);
    if (!isGood) bad += 1;
    const elapsed = performance.now() - started;
    if (forMs === 0 ? !isGood || elapsed > LONGEST_MS : elapsed > forMs) return { ms, bad, firstBadMs: Math.round(elapsed) };
    await new Promise((go) => setTimeout(go, forMs === 0 ? 2 : 50));
  }
}

function one(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: false, timeout: LONGEST_MS }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode === 200));
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(false));
    asked.end();
  });
}

if (process.argv[2] === 'probe' && process.send) {
  process.on('message', (order: Order) => void probe(order).then((news) => process.send?.(news)));
  process.once('disconnect', () => process.exit(0));
}
