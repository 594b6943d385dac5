import { type ChildProcess, fork } from 'node:child_process';
import { Agent, request } from 'node:http';

/** Many clients at once, in a process of their own, so that they take no time from the test that watches the balance. */
export interface Crowd {
  /** How many have been answered so far. */
  answered(): number;
  /** How often each status (with its code, for errors) was answered; resolves when everybody has an answer. */
  statuses(): Promise<Readonly<Record<string, number>>>;
}

interface Order {
  readonly url: string;
  readonly tokens: readonly string[];
  readonly count: number;
  readonly body: string;
}
type News = { readonly answered: number } | { readonly statuses: Record<string, number> };

/** Sends `count` requests, all of them before the first can have an answer; tokens take turns. */
export function sendCrowd(order: Order): Crowd {
  const child: ChildProcess = fork(new URL(import.meta.url).pathname, ['serve'], { execArgv: ['--import', 'tsx'] });
  let answered = 0;
  const all = new Promise<Record<string, number>>((resolve, reject) => {
    child.on('message', (news: News) => {
      if ('statuses' in news) {
        resolve(news.statuses);
        child.disconnect();
      } else answered = news.answered;
    });
    child.on('exit', (code) => reject(new Error(`the crowd left early (${code})`)));
  });
  child.send(order);
  return {
    answered: () => answered,
    statuses: () => all,
  };
}

async function serve({ url, tokens, count, body }: Order): Promise<void> {
  const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
  const statuses = new Map<string, number>();
  let answered = 0;
  const one = (token: string): Promise<void> =>
    new Promise((resolve) => {
      const settle = (word: string): void => {
        statuses.set(word, (statuses.get(word) ?? 0) + 1);
        answered += 1;
        if (answered % 50 === 0 || answered > count - 600) process.send?.({ answered } satisfies News);
        resolve();
      };
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const asked = request(url, { method: 'POST', agent, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (part: string) => {
          text += part;
        });
        answer.on('end', () =>
          settle(`${answer.statusCode}${/"code":"(\w+)"/.exec(text)?.[1] ? ` ${/"code":"(\w+)"/.exec(text)?.[1]}` : ''}`),
        );
      });
      asked.on('error', (error: NodeJS.ErrnoException) => settle(error.code ?? 'error'));
      asked.end(body);
    });
  await Promise.all(Array.from({ length: count }, (_, i) => one(tokens[i % tokens.length] ?? '')));
  process.send?.({ statuses: Object.fromEntries(statuses) } satisfies News);
}

if (process.argv[2] === 'serve' && process.send) {
  process.once('message', (order: Order) => void serve(order));
  // Not when it has said all: a word that is still under way would be lost with it.
  process.once('disconnect', () => process.exit(0));
}
