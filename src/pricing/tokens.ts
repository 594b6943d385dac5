import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Tinypool } from 'tinypool';
import type { PartBounds } from '../domain/prices.js';
import type { Counted, CountedEndpoint } from './count.js';
import { DEFAULT_PART_BOUNDS } from './estimate.js';
import type { WorkerJob } from './tokensWorker.js';

export type { Counted };

/** Counts tokens by the published rule in a thread of its own. Never on the event loop, never without a bound. */
export interface TokenCounter {
  /** Rejects with a `CountFailure`. Aborting stops the work, not only the wait. */
  count(job: TokenJob, signal?: AbortSignal): Promise<Counted>;
  close(): Promise<void>;
}

export interface TokenJob {
  readonly endpoint: CountedEndpoint;
  readonly model: string;
  readonly request: Uint8Array;
  /** The response as it arrived, cut anywhere. */
  readonly response: readonly Uint8Array[];
  readonly stream: boolean;
  /** Tokens per image, audio or file part; a part that states none takes the counter's default. */
  readonly bounds?: Partial<PartBounds>;
}

export interface TokenCounterOptions {
  readonly threadsMax?: number;
  /** Jobs waiting; the next one is refused with `busy`. */
  readonly queueMax?: number;
  /** From the call to the answer, waiting included. */
  readonly deadlineMs?: number;
  readonly bounds?: PartBounds;
}

/** Why a count did not happen. The caller falls back on bytes; a request is never free because it was hard to count. */
export interface CountFailure extends Error {
  readonly code: 'count_busy' | 'count_deadline' | 'count_aborted' | 'count_broken' | 'count_closed';
  readonly publicMessage: string;
}

/** The thread starts with the first job, because it costs 75 MB, and stays for five minutes after the last. */
export function createTokenCounter(options: TokenCounterOptions = {}): TokenCounter {
  const { threadsMax = 1, queueMax = 256, deadlineMs = 15_000, bounds = DEFAULT_PART_BOUNDS } = options;
  let pool: Tinypool | undefined;
  let isClosed = false;
  const started = (): Tinypool => {
    if (pool) return pool;
    pool = new Tinypool({ ...workerFile(), name: 'run', minThreads: 0, maxThreads: threadsMax, maxQueue: queueMax, idleTimeout: 300_000 });
    const mine = pool;
    // A thread that dies would leave its jobs waiting, and without a listener take the process with it.
    mine.on('error', () => {
      if (pool === mine) pool = undefined;
      mine.destroy().catch(() => undefined);
    });
    return mine;
  };
  return {
    async count(job, signal) {
      if (isClosed) throw failure('count_closed', 'The counter is closed.');
      if (signal?.aborted) throw failure('count_aborted', 'The count was given up.');
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), deadlineMs); // also keeps the process alive: the threads themselves do not
      const { endpoint, model, stream } = job;
      const isShared = job.request.buffer instanceof SharedArrayBuffer;
      const [request, response] = [isShared ? job.request : joined([job.request]), joined(job.response)];
      const task: WorkerJob = { endpoint, model, stream, request, response, bounds: stated(bounds, job.bounds) };
      const transferList = [response.buffer as ArrayBuffer, ...(isShared ? [] : [request.buffer as ArrayBuffer])];
      try {
        return (await started().run(task, {
          transferList,
          signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
        })) as Counted;
      } catch (cause) {
        if (signal?.aborted) throw failure('count_aborted', 'The count was given up.', cause);
        if (late.signal.aborted) throw failure('count_deadline', `Counting took longer than ${deadlineMs} ms.`, cause);
        if (isClosed) throw failure('count_closed', 'The counter is closed.', cause);
        if (isQueueFull(cause)) throw failure('count_busy', 'Too many requests are waiting to be counted.', cause);
        throw failure('count_broken', 'The tokens could not be counted.', cause);
      } finally {
        clearTimeout(timer);
      }
    },
    async close() {
      isClosed = true;
      await pool?.destroy();
    },
  };
}

/** An exact copy to give away: cloning a chunk would clone the whole pooled buffer it is a window of. */
function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function stated(defaults: PartBounds, own: Partial<PartBounds> | undefined): PartBounds {
  return { image: own?.image ?? defaults.image, audio: own?.audio ?? defaults.audio, file: own?.file ?? defaults.file };
}

/**
 * From a checkout the worker is TypeScript. The loader registers itself in the main thread only, and the parent may run
 * under another one, so the thread is told to register it.
 */
function workerFile(): { readonly filename: string; readonly execArgv?: string[] } {
  const isSource = import.meta.url.endsWith('.ts');
  const filename = fileURLToPath(new URL(`./tokensWorker.${isSource ? 'ts' : 'js'}`, import.meta.url));
  if (!isSource) return { filename };
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx/esm/api')).href.replace(/\.cjs$/, '.mjs');
  const start = `import { register } from ${JSON.stringify(loader)}; register();`;
  return { filename, execArgv: ['--import', `data:text/javascript,${encodeURIComponent(start)}`] };
}

const isQueueFull = (cause: unknown): boolean => cause instanceof Error && /queue is at limit/i.test(cause.message);

function failure(code: CountFailure['code'], publicMessage: string, cause?: unknown): CountFailure {
  return Object.assign(new Error(publicMessage, { cause }), { code, publicMessage });
}
