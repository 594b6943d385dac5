import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { end, start } from './processes.mjs';

/** A private Redis and a private Postgres on free ports, with durability as in production, gone when the bench ends. */
export async function startStores() {
  const folder = mkdtempSync(join(tmpdir(), 'farebox-bench-'));
  chmodSync(folder, 0o755);
  const redis = await startRedis(folder);
  const postgres = await startPostgres(folder);
  return {
    folder,
    redisUrl: redis.url,
    databaseUrl: postgres.url,
    versions: `${version('redis-server', ['--version'])}; ${version(program('postgres'), ['--version'])}`,
    stop: async () => {
      await end(redis.child);
      await end(postgres.child, 'SIGINT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function startRedis(folder) {
  const port = await freePort();
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--appendonly',
    'yes',
    '--save',
    '',
    '--maxmemory-policy',
    'noeviction',
  ];
  const child = start(program('redis-server'), args);
  await until(() => spawnSync('redis-cli', ['-p', String(port), 'ping'], { encoding: 'utf8' }).stdout?.includes('PONG'), child);
  return { child, url: `redis://127.0.0.1:${port}` };
}

async function startPostgres(folder) {
  const port = await freePort();
  const data = join(folder, 'postgres');
  mkdirSync(data);
  const owner = unprivileged();
  if (owner) chownSync(data, owner.uid, owner.gid);
  const made = spawnSync(program('initdb'), ['-D', data, '-U', 'farebox', '--auth=trust', '--no-locale', '-E', 'UTF8'], {
    ...owner,
    cwd: data,
    encoding: 'utf8',
  });
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const args = ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='];
  const child = start(program('postgres'), args, { ...owner, cwd: data });
  await until(() => spawnSync(program('pg_isready'), ['-h', '127.0.0.1', '-p', String(port)]).status === 0, child);
  return { child, url: `postgres://farebox@127.0.0.1:${port}/postgres` };
}

/** Postgres refuses to run as root; any other user does. */
function unprivileged() {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const uid = spawnSync('id', ['-u', name], { encoding: 'utf8' }).stdout?.trim();
    const gid = spawnSync('id', ['-g', name], { encoding: 'utf8' }).stdout?.trim();
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('Postgres cannot run as root, and there is no user postgres or nobody');
}

function program(name) {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((one) => `/usr/lib/postgresql/${one}/bin`), ...(process.env['PATH'] ?? '').split(delimiter)];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (!found) throw new Error(`the bench needs ${name}; install redis-server and postgresql`);
  return found;
}

const version = (command, args) => spawnSync(command, args, { encoding: 'utf8' }).stdout?.trim() ?? '';

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export async function until(ready, child, limitMs = 60_000) {
  const deadline = Date.now() + limitMs;
  while (!(await ready())) {
    if (child.exitCode !== null) throw new Error(`it ended:\n${child.output}`);
    if (Date.now() > deadline) throw new Error(`it was not ready in time:\n${child.output}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}
