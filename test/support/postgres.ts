import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import postgres from 'postgres';
import { openDatabase } from '../../src/db/client.js';
import { migrate } from '../../src/db/migrate.js';

export interface TestPostgres {
  /** Superuser connection to the database `postgres`. */
  readonly url: string;
  /** The process to stop, freeze or kill in a test of outages; 0 when the server is not ours. */
  readonly pid: number;
  stop(): Promise<void>;
}

export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

const TEMPLATE = 'farebox_template';
const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});

/** TEST_DATABASE_URL if set, else a private server that ends with this process; with a migrated template in it. */
export async function startPostgres(): Promise<TestPostgres> {
  const given = process.env['TEST_DATABASE_URL'];
  const server = given ? { url: given, pid: 0, stop: async () => undefined } : await startPrivate();
  await makeTemplate(server.url);
  return server;
}

let count = 0;

/** A migrated database of its own, copied from the template in a few dozen milliseconds. */
export async function freshDatabase(serverUrl: string): Promise<TestDatabase> {
  const name = `farebox_test_${process.pid}_${++count}_${Math.random().toString(36).slice(2, 8)}`;
  await asAdmin(serverUrl, (sql) => sql.unsafe(`create database ${name} template ${TEMPLATE}`));
  return {
    url: withDatabase(serverUrl, name),
    drop: async () => {
      await asAdmin(serverUrl, (sql) => sql.unsafe(`drop database if exists ${name} with (force)`)).catch(() => undefined);
    },
  };
}

/** An empty database, for tests of the migrations themselves. */
export async function emptyDatabase(serverUrl: string): Promise<TestDatabase> {
  const name = `farebox_empty_${process.pid}_${++count}_${Math.random().toString(36).slice(2, 8)}`;
  await asAdmin(serverUrl, (sql) => sql.unsafe(`create database ${name} template template0 encoding 'UTF8'`));
  return {
    url: withDatabase(serverUrl, name),
    drop: async () => {
      await asAdmin(serverUrl, (sql) => sql.unsafe(`drop database if exists ${name} with (force)`)).catch(() => undefined);
    },
  };
}

/** Statements a test needs beside the product: ending backends, planting damage. */
export async function asAdmin<T>(url: string, work: (sql: postgres.Sql) => PromiseLike<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 2 });
  }
}

async function makeTemplate(url: string): Promise<void> {
  await asAdmin(url, (sql) => sql.unsafe(`drop database if exists ${TEMPLATE} with (force)`));
  await asAdmin(url, (sql) => sql.unsafe(`create database ${TEMPLATE} template template0 encoding 'UTF8'`));
  const db = openDatabase({ url: withDatabase(url, TEMPLATE), max: 1 });
  await migrate(db, { owner: 'template' });
  await db.close();
}

async function startPrivate(): Promise<TestPostgres> {
  const bin = findBinaries();
  const user = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), 'farebox-postgres-'));
  folders.add(folder);
  chmodSync(folder, 0o755);
  if (user) execFileSync('chown', [user.name, folder]);
  const as = user ? { uid: user.uid, gid: user.gid, cwd: folder } : { cwd: folder };
  const data = join(folder, 'data');
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'farebox', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], {
    ...as,
    stdio: 'pipe',
  });
  const port = await freePort();
  const settings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=100', 'listen_addresses=127.0.0.1'];
  settings.push(`port=${port}`, `unix_socket_directories=${folder}`, 'shared_buffers=128MB', 'max_wal_size=2GB', 'autovacuum_naptime=10s');
  const child = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], {
    ...as,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  running.add(child);
  const said: string[] = [];
  child.stderr.on('data', (bytes: Buffer) => said.push(bytes.toString()));
  const url = `postgres://farebox@127.0.0.1:${port}/postgres`;
  await answering(url, child, () => said.join(''));
  return {
    url,
    pid: child.pid ?? 0,
    stop: async () => {
      const over = child.exitCode === null && child.signalCode === null ? new Promise((done) => child.once('exit', done)) : undefined;
      child.kill('SIGQUIT');
      await over;
      running.delete(child);
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
      folders.delete(folder);
    },
  };
}

async function answering(url: string, child: ChildProcess, output: () => string): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const up = await asAdmin(url, (sql) => sql`select 1`).then(
      () => true,
      () => false,
    );
    if (up) return;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the private Postgres did not start:\n${output()}`);
    await new Promise((go) => setTimeout(go, 30));
  }
}

function findBinaries(): string {
  const versions = '/usr/lib/postgresql';
  const installed = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(b) - Number(a)) : [];
  const places = [...(process.env['PATH'] ?? '').split(delimiter), ...installed.map((version) => join(versions, version, 'bin'))];
  const bin = places.find((place) => place !== '' && existsSync(join(place, 'initdb')) && existsSync(join(place, 'postgres')));
  if (bin) return bin;
  throw new Error(
    'These tests need PostgreSQL: install it (Debian: apt-get install postgresql; macOS: brew install postgresql@17) or set TEST_DATABASE_URL=postgres://…',
  );
}

/** Postgres refuses to run as root; whoever is root lends it another user. */
function unprivileged(): { name: string; uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) => Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }));
      return { name, uid: id('-u'), gid: id('-g') };
    } catch {
      // No such user here; try the next.
    }
  }
  throw new Error('Postgres does not run as root, and there is neither a user "postgres" nor "nobody": set TEST_DATABASE_URL');
}

function withDatabase(url: string, name: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${name}`;
  return parsed.href;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}
