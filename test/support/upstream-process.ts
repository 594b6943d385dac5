import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Answer } from './answers.js';
import { dropUsers, type Seen, startUpstream, type Upstream, type UpstreamState } from './upstream.js';

/** What the test process tells its upstream process, and what comes back. */
type Order =
  | { readonly will: Answer[] }
  | { readonly always: Answer }
  | { readonly open: string }
  | { readonly forget: readonly string[] }
  | { readonly refuse: number }
  | { readonly listen: number };
type News = { readonly port: number } | { readonly seen: Seen } | { readonly gate: string } | { readonly did: number };

export interface UpstreamProcess extends Upstream {
  readonly pid: number;
  kill(): Promise<void>;
}

/** The test's end: the same interface as in-process, kept up to date by messages. */
export async function mirror(child: ChildProcess): Promise<UpstreamProcess> {
  const requests: Seen[] = [];
  const gates = new Set<string>();
  const dids = new Set<number>();
  let waiters: { ready: () => boolean; go: () => void }[] = [];
  let port = 0;
  let orders = 0;
  const wake = () => {
    const free = waiters.filter((waiter) => waiter.ready());
    waiters = waiters.filter((waiter) => !free.includes(waiter));
    for (const waiter of free) waiter.go();
  };
  const until = (ready: () => boolean) => (ready() ? Promise.resolve() : new Promise<void>((go) => waiters.push({ ready, go })));
  child.on('message', (news: News) => {
    if ('port' in news) port = news.port;
    else if ('seen' in news)
      requests[news.seen.number - 1] = { ...news.seen, body: Buffer.from(news.seen.body), delivered: Buffer.from(news.seen.delivered) };
    else if ('gate' in news) gates.add(news.gate);
    else dids.add(news.did);
    wake();
  });
  const tell = (order: Order) => void child.send(order);
  const tellAndWait = (make: (id: number) => Order) => {
    const id = ++orders;
    tell(make(id));
    return until(() => dids.has(id));
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  await until(() => port !== 0);
  return {
    url: `http://127.0.0.1:${port}/v1`,
    port,
    pid: child.pid ?? 0,
    requests,
    will: (...answers) => tell({ will: answers }),
    always: (answer) => {
      if (typeof answer === 'function') throw new TypeError('an upstream process takes a fixed answer, not a function');
      tell({ always: answer });
    },
    open: (gate) => tell({ open: gate }),
    reached: (gate) => until(() => gates.has(gate)),
    arrived: (count) => until(() => requests.length >= count),
    quiet: () => until(() => requests.every((seen) => seen.endedAtMs !== null)),
    forget: (users) => {
      tell({ forget: users });
      dropUsers(requests, users);
    },
    refuse: () => tellAndWait((id) => ({ refuse: id })),
    listen: () => tellAndWait((id) => ({ listen: id })),
    stop: kill,
    kill,
  };
}

/** Starts an upstream in a process of its own, so that it costs this one nothing and can be killed. */
export function startUpstreamProcess(): Promise<UpstreamProcess> {
  const file = new URL(import.meta.url).pathname;
  return mirror(fork(file, ['serve'], { execArgv: ['--import', 'tsx'], serialization: 'advanced' }));
}

async function serve(): Promise<void> {
  const upstream = (await startUpstream()) as UpstreamState;
  const tell = (news: News) => void process.send?.(news);
  upstream.onChange = (seen) => tell({ seen });
  upstream.onGate = (gate) => tell({ gate });
  process.on('message', (order: Order) => {
    if ('will' in order) upstream.will(...order.will);
    else if ('always' in order) upstream.always(order.always);
    else if ('open' in order) upstream.open(order.open);
    else if ('forget' in order) upstream.forget(order.forget);
    else if ('refuse' in order) void upstream.refuse().then(() => tell({ did: order.refuse }));
    else void upstream.listen().then(() => tell({ did: order.listen }));
  });
  process.on('disconnect', () => process.exit(0));
  tell({ port: upstream.port });
}

if (process.argv[2] === 'serve' && process.send) void serve();
