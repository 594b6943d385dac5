import { type ChildProcess, fork } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';

/** A cheap upstream in a process of its own, that remembers nothing: what it does is in the `user` field of the request. */
export interface SoakUpstream {
  readonly url: string;
  readonly pid: number;
  stop(): void;
}

/** What each kind of request is charged when it is served whole: 20 tokens in, 10 out. */
export const USAGE = { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 };
export const EVENTS = 8;
const EVENT_MS = 60;
const PLAIN_MS = 120;

export async function startSoakUpstream(): Promise<SoakUpstream> {
  const child: ChildProcess = fork(new URL(import.meta.url).pathname, ['serve'], { execArgv: ['--import', 'tsx'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (news: { port: number }) => resolve(news.port));
    child.once('exit', () => reject(new Error('the upstream ended')));
  });
  return { url: `http://127.0.0.1:${port}/v1`, pid: child.pid ?? 0, stop: () => void child.kill() };
}

function serve(): void {
  const server = createServer({ keepAliveTimeout: 30_000 }, (req, res) => {
    const parts: Buffer[] = [];
    req.on('data', (part: Buffer) => parts.push(part));
    req.on('end', () => answer(res, JSON.parse(Buffer.concat(parts).toString()) as { user: string; stream?: boolean }));
  });
  process.on('disconnect', () => process.exit(0));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
    const address = server.address();
    process.send?.({ port: typeof address === 'object' && address ? address.port : 0 });
  });
}

function answer(res: ServerResponse, { user, stream }: { user: string; stream?: boolean }): void {
  if (user === 'busy') {
    res.writeHead(503, { 'content-type': 'application/json' }).end('{"error":{"message":"busy","type":"server_error"}}');
  } else if (user === 'broken') res.destroy();
  else if (stream) events(res, user);
  else if (user === 'instant') json(res, plain(user));
  else setTimeout(() => json(res, plain(user)), PLAIN_MS);
}

const json = (res: ServerResponse, body: string): void =>
  void res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);

export function plain(user: string): string {
  if (user === 'garbage') return '<html>not what you asked for</html>';
  if (user === 'embedding')
    return JSON.stringify({ object: 'list', data: [{ index: 0, embedding: [0.1] }], usage: { prompt_tokens: 30, total_tokens: 30 } });
  const message = { role: 'assistant', content: ' one two three four five six seven eight nine ten' };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  return JSON.stringify({ id: 'x', object: 'chat.completion', choices, ...(user === 'uncounted' ? {} : { usage: USAGE }) });
}

const eventOf = (value: object): string => `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', ...value })}\n\n`;
const WORD = { choices: [{ index: 0, delta: { content: ' word' }, finish_reason: null }] };

/** The first events of a stream, as they are sent. */
export const eventsOf = (count: number): string => eventOf(WORD).repeat(count);

function events(res: ServerResponse, user: string): void {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (value: object): void => void res.write(eventOf(value));
  let sent = 0;
  const timer = setInterval(() => {
    if (res.destroyed) return clearInterval(timer);
    if (user === 'cut' && sent === EVENTS / 2) {
      clearInterval(timer);
      res.destroy();
    } else if (sent < EVENTS) {
      sent += 1;
      send(WORD);
    } else {
      clearInterval(timer);
      send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
      send({ choices: [], usage: USAGE });
      res.end('data: [DONE]\n\n');
    }
    return undefined;
  }, EVENT_MS);
}

if (process.argv[2] === 'serve' && process.send) serve();
