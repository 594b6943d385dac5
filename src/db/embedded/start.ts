import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { FromChild } from './child.js';

export interface EmbeddedPostgres {
  /** One connection: its engine has a single backend. Give it to `openDatabase` as it is. */
  readonly url: string;
  stop(): Promise<void>;
  /** Called after the child has died and a new one is ready; whatever had been answered is still there. */
  onRestart(callback: () => void): void;
  /** The process that holds the data now. */
  pid(): number;
}

export interface EmbeddedOptions {
  /** The database lies in `postgres` inside it. The caller holds the lock of this folder. */
  readonly dataDir: string;
  /** Sentences for a person who waits. */
  readonly onProgress?: (sentence: string) => void;
  /** The child cannot be started again; the server had better end. */
  readonly onFatal?: (error: Error) => void;
}

const READY_MS = 120_000;
const STOP_MS = 10_000;
const RESTARTS_MAX = 10;
const CALM_MS = 60_000;

/** A Postgres without installation, for evaluation and small servers: PGlite in a child process behind a Unix socket. */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const data = join(options.dataDir, 'postgres');
  const first = !existsSync(join(data, 'PG_VERSION'));
  mkdirSync(data, { recursive: true, mode: 0o700 });
  // Not in the data folder: the path of a socket may have only about a hundred characters.
  const folder = mkdtempSync(join(tmpdir(), 'farebox-pg-'));
  const socket = join(folder, '.s.PGSQL.5432');
  const restarted: (() => void)[] = [];
  let stopping = false;
  let failures = 0;
  let child: ChildProcess;

  const again = async (): Promise<void> => {
    const since = Date.now();
    failures += 1;
    if (failures > RESTARTS_MAX) throw new Error(`the embedded Postgres ended ${failures} times; look at ${data}`);
    rmSync(socket, { force: true });
    rmSync(join(data, 'postmaster.pid'), { force: true });
    child = await launch(data, socket);
    watch(child);
    setTimeout(() => {
      if (Date.now() - since >= CALM_MS) failures = 0;
    }, CALM_MS).unref();
    for (const callback of restarted) callback();
  };

  const retry = (): void => {
    if (stopping) return;
    again().catch((error: unknown) => {
      if (failures > RESTARTS_MAX) options.onFatal?.(error instanceof Error ? error : new Error(String(error)));
      else setTimeout(retry, 100 * failures);
    });
  };
  const watch = (one: ChildProcess): void => {
    one.once('exit', () => {
      if (!stopping) retry();
    });
  };

  options.onProgress?.(first ? 'Preparing the embedded database (first start, a few seconds) …' : 'Opening the embedded database …');
  child = await launch(data, socket);
  watch(child);
  return {
    url: `postgres://postgres@localhost:5432/postgres?host=${encodeURIComponent(folder)}&max=1`,
    pid: () => child.pid ?? 0,
    onRestart: (callback) => restarted.push(callback),
    stop: async () => {
      stopping = true;
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function launch(data: string, socket: string): Promise<ChildProcess> {
  const source = import.meta.url.endsWith('.ts');
  const file = fileURLToPath(new URL(source ? './child.ts' : './child.js', import.meta.url));
  // From the sources the child needs the same loader; its address, because a data folder is no place to look for it.
  const execArgv = source ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href] : [];
  const child = fork(file, [data, socket], { execArgv, serialization: 'json', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-2_000);
  });
  return new Promise((done, failed) => {
    const fail = (why: string): void => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      failed(new Error(`The embedded Postgres did not start: ${why}${said ? `\n${said}` : ''}`));
    };
    const timer = setTimeout(() => fail(`no answer within ${READY_MS / 1000} s`), READY_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`it ended with ${signal ?? code}`));
    child.on('message', (message: FromChild) => {
      if (message.kind === 'failed') return fail(message.message);
      clearTimeout(timer);
      child.removeAllListeners('exit');
      child.removeAllListeners('error');
      child.on('error', () => undefined);
      done(child);
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((done) => child.once('exit', done));
  if (child.connected) child.send({ kind: 'stop' }, () => undefined);
  else child.kill('SIGKILL');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await over;
  clearTimeout(late);
}
