import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

export interface RedisOptions {
  readonly appendonly?: boolean;
  /** Kept by the caller; without it a folder is made and removed. */
  readonly dir?: string;
  readonly port?: number;
  readonly args?: readonly string[];
}

/** A private server on 127.0.0.1 that never outlives the test process. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
  /** SIGKILL: nothing is flushed, nobody is told. */
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Starts again on the same port and folder; what it remembers depends on `appendonly`. */
  restart(): Promise<void>;
}

export interface RedisCluster {
  readonly url: string;
  /** Masters first, in the order of their slots; then their replicas, if there are any. */
  readonly nodes: readonly RedisServer[];
  /** The node that has the slot of this hash tag now. */
  ownerOf(tag: string): Promise<RedisServer>;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 15_000;
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const binary = serverBinary();
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'farebox-redis-'));
  const port = options.port ?? (await freePort());
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--maxmemory-policy', 'noeviction'];
  args.push('--appendonly', options.appendonly ? 'yes' : 'no', '--protected-mode', 'no', '--daemonize', 'no', ...(options.args ?? []));
  let child = await launch(binary, args, port);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.ref(); // it is waited for, even when nothing else is
    child.kill('SIGCONT');
    child.kill(signal);
    await gone;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return child.pid ?? 0;
    },
    stop: async () => {
      await end('SIGKILL');
      if (!options.dir) rmSync(dir, { recursive: true, force: true });
    },
    kill: () => end('SIGKILL'),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    restart: async () => {
      await end('SIGKILL');
      child = await launch(binary, args, port);
    },
  };
}

/** A cluster of masters that covers every slot, each with a replica if wanted. */
export async function startRedisCluster(nodes = 3, options: { readonly replicas?: boolean } = {}): Promise<RedisCluster> {
  const servers: RedisServer[] = [];
  const busPorts: number[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    for (let i = 0; i < nodes * (options.replicas ? 2 : 1); i++) {
      // The bus port is given, because its default (port + 10,000) collides with free ports handed to others.
      const busPort = await freePort();
      busPorts.push(busPort);
      const args = ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-config-file', 'nodes.conf'];
      servers.push(await startRedis({ args: [...args, '--cluster-node-timeout', '2000'] }));
    }
    await joinCluster(servers, busPorts, nodes);
  } catch (error) {
    await stop();
    throw error;
  }
  const url = `redis-cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  return { url, nodes: servers, ownerOf: (tag) => ownerOf(servers, tag), stop };
}

async function ownerOf(servers: readonly RedisServer[], tag: string): Promise<RedisServer> {
  for (const { port } of servers) {
    const slot = await command(port, 'CLUSTER', 'KEYSLOT', `{${tag}}`).catch(() => '');
    const nodes = slot === '' ? '' : await command(port, 'CLUSTER', 'NODES').catch(() => '');
    const mine = nodes.split('\n').find((line) => hasSlot(line, Number(slot.slice(1))));
    const found = servers.find((server) => mine?.includes(`:${server.port}@`));
    if (found) return found;
  }
  throw new Error(`no node has the slot of ${tag}`);
}

/** A line of CLUSTER NODES: id, address, flags, …, and the ranges of slots at its end. */
function hasSlot(line: string, slot: number): boolean {
  const [, , flags = '', ...rest] = line.split(' ');
  if (!flags.includes('master') || flags.includes('fail')) return false;
  return rest.some((word) => {
    const range = /^(\d+)(?:-(\d+))?\r?$/.exec(word);
    return range !== null && rest.indexOf(word) >= 5 && Number(range[1]) <= slot && slot <= Number(range[2] ?? range[1]);
  });
}

async function joinCluster(servers: readonly RedisServer[], busPorts: readonly number[], masters: number): Promise<void> {
  const [first] = servers;
  if (!first) return;
  const share = Math.ceil(16_384 / masters);
  for (const [i, server] of servers.slice(0, masters).entries()) {
    await command(server.port, 'CLUSTER', 'ADDSLOTSRANGE', String(i * share), String(Math.min(16_383, (i + 1) * share - 1)));
    await command(server.port, 'CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1));
  }
  for (const [i, server] of servers.entries()) {
    if (i > 0) await command(first.port, 'CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(busPorts[i]));
  }
  await until(`a cluster of ${servers.length}`, async () => {
    for (const server of servers) {
      const info = await command(server.port, 'CLUSTER', 'INFO');
      if (!info.includes('cluster_state:ok') || !info.includes(`cluster_known_nodes:${servers.length}`)) return false;
    }
    return true;
  });
  for (const [i, replica] of servers.slice(masters).entries()) {
    const id = (await command(servers[i]?.port ?? 0, 'CLUSTER', 'MYID')).split('\r\n')[1] ?? '';
    await command(replica.port, 'CLUSTER', 'REPLICATE', id);
    await until('a replica', async () => (await command(replica.port, 'INFO', 'replication')).includes('master_link_status:up'));
  }
}

/** Sends one command and gives back the raw reply; throws what the server calls an error. For set-up, not for money. */
export function command(port: number, ...words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setTimeout(5_000, () => socket.destroy(new Error(`no reply to ${words[0]}`)));
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      text += chunk.toString();
      if (!isWhole(text)) return;
      socket.destroy();
      if (text.startsWith('-')) reject(new Error(text.slice(1).trim()));
      else resolve(text);
    });
    socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
  });
}

function isWhole(text: string): boolean {
  if (!text.endsWith('\r\n')) return false;
  const length = /^\$(\d+)\r\n/.exec(text);
  return length ? Buffer.byteLength(text) >= length[0].length + Number(length[1]) + 2 : true;
}

async function launch(binary: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.on('exit', () => running.delete(child));
  let said = '';
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString()).slice(-4_000);
  };
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  await until('redis-server', async () => {
    if (child.exitCode !== null) throw new Error(`redis-server stopped at once:\n${said}`);
    return (await command(port, 'PING').catch(() => '')).startsWith('+PONG');
  });
  child.unref();
  return child;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`${what} did not start in ${START_TIMEOUT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function serverBinary(): string {
  for (const name of ['redis-server', 'valkey-server']) {
    for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
      try {
        const path = join(folder, name);
        accessSync(path, constants.X_OK);
        execFileSync(path, ['--version'], { stdio: 'ignore' });
        return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  throw new Error('These tests need redis-server (or valkey-server) on the PATH. On Debian or Ubuntu: sudo apt-get install redis-server');
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}
