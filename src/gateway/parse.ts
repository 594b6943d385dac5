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
const WAITING_MAX = 64;

let pool: Tinypool | undefined;

export function parseBody(kind: EndpointKind, bytes: Buffer, depthMax: number): Parsed | Promise<Parsed> {
  return bytes.length <= INLINE_BYTES_MAX ? parseRequest(kind, bytes, depthMax) : parseInThread(kind, bytes, depthMax);
}

async function parseInThread(kind: EndpointKind, bytes: Buffer, depthMax: number): Promise<Parsed> {
  pool ??= new Tinypool({ ...workerFile(), name: 'run', minThreads: 0, maxThreads: 1, maxQueue: WAITING_MAX, idleTimeout: 60_000 });
  return (await pool.run({ kind, bytes, depthMax })) as Parsed;
}

/** The thread runs the same code from the sources and from a build. */
function workerFile(): { filename: string; execArgv?: string[] } {
  const here = import.meta.url;
  if (here.endsWith('.js')) return { filename: fileURLToPath(new URL('./parseWorker.js', here)) };
  const loader = pathToFileURL(createRequire(here).resolve('tsx')).href;
  return { filename: fileURLToPath(new URL('./parseWorker.ts', here)), execArgv: ['--import', loader] };
}
