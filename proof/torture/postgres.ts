import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import postgres from 'postgres';
import { freePort } from '../../test/support/redis.js';
import { removeAtExit, undoAtExit } from '../leftovers.js';

/** A private Postgres that can be stopped, frozen and started again on the same data. */
export interface PrivatePostgres {
  readonly port: number;
  readonly url: string;
  start(): Promise<void>;
  /** Immediate: no checkpoint, no goodbye. Waits until it is gone. */
  stop(): Promise<void>;
  freeze(): void;
  thaw(): void;
  query<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  remove(): Promise<void>;
}

export async function createPostgres(): Promise<PrivatePostgres> {
  const bin = binaries();
  const folder = mkdtempSync(join(tmpdir(), 'farebox-proof-pg-'));
  const removeFolder = removeAtExit(folder);
  chmodSync(folder, 0o755);
  const user = otherUser();
  if (user) execFileSync('chown', [user.name, folder]);
  const as = { cwd: folder, ...(user ? { uid: user.uid, gid: user.gid } : {}) };
  const data = join(folder, 'data');
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'farebox', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], {
    ...as,
    stdio: 'pipe',
  });
  const port = await freePort();
  const url = `postgres://farebox@127.0.0.1:${port}/postgres`;
  let child: ChildProcess | undefined;
  undoAtExit(() => child?.kill('SIGQUIT'));
  const query = async <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => {
    const sql = postgres(url, { max: 1, onnotice: () => undefined, connect_timeout: 5, types: { bigint: BIGINT } });
    try {
      return (await sql.unsafe(text, values as string[])) as unknown as Row[];
    } finally {
      await sql.end({ timeout: 1 });
    }
  };
  const start = async (): Promise<void> => {
    const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`, 'max_connections=60'];
    settings.push('shared_buffers=64MB', 'full_page_writes=on', 'synchronous_commit=on', 'log_min_messages=fatal');
    child = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], { ...as, stdio: 'ignore' });
    const mine = child;
    const deadline = Date.now() + 30_000;
    while (
      !(await query('select 1').then(
        () => true,
        () => false,
      ))
    ) {
      if (mine.exitCode !== null || Date.now() > deadline) throw new Error('the private Postgres did not start');
      await new Promise((go) => setTimeout(go, 50));
    }
  };
  const stop = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const over = once(child, 'exit');
    signalFamily(child.pid ?? 0, 'SIGCONT');
    child.kill('SIGQUIT');
    await over;
  };
  return {
    port,
    url,
    start,
    stop,
    query,
    freeze: () => signalFamily(child?.pid ?? 0, 'SIGSTOP'),
    thaw: () => signalFamily(child?.pid ?? 0, 'SIGCONT'),
    remove: async () => {
      await stop();
      removeFolder();
    },
  };
}

const BIGINT = { to: 20, from: [20, 1700], serialize: String, parse: Number };

/** The server and its backends: each is a process of its own. */
function signalFamily(pid: number, signal: NodeJS.Signals): void {
  if (pid === 0) return;
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
    .split(/\s+/)
    .filter(Boolean);
  for (const one of [pid, ...children.map(Number)]) {
    try {
      process.kill(one, signal);
    } catch {
      // A backend that ended meanwhile.
    }
  }
}

function binaries(): string {
  const versions = '/usr/lib/postgresql';
  const installed = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(b) - Number(a)) : [];
  const places = [...(process.env['PATH'] ?? '').split(delimiter), ...installed.map((version) => join(versions, version, 'bin'))];
  const bin = places.find((place) => place !== '' && existsSync(join(place, 'initdb')) && existsSync(join(place, 'postgres')));
  if (bin) return bin;
  throw new Error('The torture needs PostgreSQL. Debian: apt-get install postgresql; macOS: brew install postgresql@17');
}

/** Postgres refuses to run as root; whoever is root lends it another user. */
function otherUser(): { name: string; uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) => Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }));
      return { name, uid: id('-u'), gid: id('-g') };
    } catch {
      // No such user here; try the next.
    }
  }
  throw new Error('Postgres does not run as root, and there is neither a user "postgres" nor "nobody".');
}
