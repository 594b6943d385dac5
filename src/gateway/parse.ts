import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Tinypool } from 'tinypool';
import type { EndpointKind } from './endpoints.js';
import { type Parsed, parseRequest } from './request.js';

/**
 * Parsing a few hundred kilobytes of the worst JSON takes milliseconds; twenty megabytes of it take a second, and every
 * stream of this process would stand still. So large bodies are read in a thread, and only what we price by comes back.
 */
const INLINE_BYTES_MAX = 256 * 1024;
/** Whatever is in them, these cost less than a millisecond. */
const SMALL_BYTES = 16 * 1024;
const WAITING_MAX = 64;
/** From the call to the answer, waiting included. */
const DEADLINE_MS = 10_000;

/** `busy`: too many large bodies are waiting, or this one took too long. */
export type Read = Parsed | { readonly kind: 'busy' };

let pool: Tinypool | undefined;

/** Several that come together are read here as far as one of them might be; the others have the next turns. */
let bytesLeft = INLINE_BYTES_MAX;
let isArmed = false;
let waiting: { readonly bytes: number; readonly read: () => void }[] = [];

export function parseBody(kind: EndpointKind, bytes: Buffer, depthMax: number): Parsed | Promise<Read> {
  if (bytes.length > INLINE_BYTES_MAX) return parseInThread(kind, bytes, depthMax);
  if (bytes.length <= SMALL_BYTES || (waiting.length === 0 && isRoomFor(bytes.length))) return parseRequest(kind, bytes, depthMax);
  const itsTurn = new Promise<void>((read) => waiting.push({ bytes: bytes.length, read }));
  return itsTurn.then(() => parseRequest(kind, bytes, depthMax));
}

function isRoomFor(bytes: number): boolean {
  if (bytes > bytesLeft) return false;
  bytesLeft -= bytes;
  arm();
  return true;
}

function arm(): void {
  if (isArmed) return;
  isArmed = true;
  setImmediate(nextTurn);
}

function nextTurn(): void {
  isArmed = false;
  bytesLeft = INLINE_BYTES_MAX;
  const queue = waiting;
  waiting = [];
  let at = 0;
  for (let next = queue[at]; next && isRoomFor(next.bytes); next = queue[++at]) next.read();
  waiting = queue.slice(at).concat(waiting);
}

async function parseInThread(kind: EndpointKind, bytes: Buffer, depthMax: number): Promise<Read> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), DEADLINE_MS);
  try {
    return (await started().run({ kind, bytes, depthMax }, { signal: late.signal })) as Parsed;
  } catch {
    return { kind: 'busy' };
  } finally {
    clearTimeout(timer);
  }
}

function started(): Tinypool {
  if (pool) return pool;
  pool = new Tinypool({ ...workerFile(), name: 'run', minThreads: 0, maxThreads: 1, maxQueue: WAITING_MAX, idleTimeout: 60_000 });
  const mine = pool;
  // A thread that dies would leave its jobs waiting, and without a listener take the process with it.
  mine.on('error', () => {
    if (pool === mine) pool = undefined;
    mine.destroy().catch(() => undefined);
  });
  return mine;
}

/** From a checkout the worker is TypeScript, and its loader has to be registered in its own thread. */
function workerFile(): { readonly filename: string; readonly execArgv?: string[] } {
  const isSource = import.meta.url.endsWith('.ts');
  const filename = fileURLToPath(new URL(`./parseWorker.${isSource ? 'ts' : 'js'}`, import.meta.url));
  if (!isSource) return { filename };
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx/esm/api')).href.replace(/\.cjs$/, '.mjs');
  const start = `import { register } from ${JSON.stringify(loader)}; register();`;
  return { filename, execArgv: ['--import', `data:text/javascript,${encodeURIComponent(start)}`] };
}
