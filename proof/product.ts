import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/support/redis.js';
import { removeAtExit, undoAtExit } from './leftovers.js';
import { type Heard, Said, type Word } from './said.js';

export interface ProductOptions {
  readonly config: Readonly<Record<string, unknown>>;
  readonly redisUrl?: string;
  readonly databaseUrl?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Start what `npm run build` made instead of the sources. */
  readonly built?: boolean;
}

/** The real server, started as a person would start it, and everything that is asked of it from outside. */
export interface Product {
  readonly url: string;
  readonly port: number;
  readonly data: string;
  readonly pid: number;
  /** The end of its log. */
  readonly output: () => string;
  /** What was found in its log, over all its lives. */
  readonly heard: (word: Word) => Heard;
  /** Process ids by what they are: the server itself, its gateways, its office. */
  parts(): { readonly gateways: readonly number[]; readonly office: readonly number[] };
  api(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }>;
  customer(credits: number): Promise<Customer>;
  ready(patienceMs?: number): Promise<number>;
  start(): Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
  kill(): Promise<void>;
  /** Kills what runs and removes the data folder. */
  remove(): Promise<void>;
}

export interface Customer {
  readonly orgId: string;
  readonly tokenId: string;
  readonly token: string;
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const OPERATOR_KEY = `ok-fb-${'proof'.repeat(8)}`;
/** Four processes have to be compiled and started, perhaps beside everything else a machine does. */
const READY_MS = 180_000;

export async function createProduct(options: ProductOptions): Promise<Product> {
  const data = mkdtempSync(join(tmpdir(), 'farebox-proof-'));
  const removeData = removeAtExit(data);
  const port = await freePort();
  const file = join(data, 'config.yaml');
  writeFileSync(file, JSON.stringify(options.config)); // JSON is YAML
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  undoAtExit(() => child && signalGroup(child, 'SIGKILL'));
  const said = new Said();
  const start = async (): Promise<void> => {
    const program = options.built ? [join(ROOT, 'dist', 'src', 'cli.js')] : ['--import', 'tsx', join(ROOT, 'src', 'cli.ts')];
    const args = [...program, 'start', '--config', file, '--data', data, '--port', String(port)];
    child = spawn(process.execPath, args, { cwd: ROOT, env: environment(options), stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const mine = child;
    for (const stream of [mine.stdout, mine.stderr]) stream?.on('data', said.listener());
    await ready(url, mine, () => said.tail());
  };
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const over = once(child, 'exit');
    signalGroup(child, 'SIGKILL');
    await over;
  };
  const api = call(url);
  return {
    url,
    port,
    data,
    get pid() {
      return child?.pid ?? 0;
    },
    output: () => said.tail(),
    heard: (word) => said.of(word),
    parts: () => partsOf(child?.pid ?? 0),
    api,
    customer: (credits) => customer(api, credits),
    ready: (patienceMs) => ready(url, child, () => said.tail(), patienceMs),
    start,
    signal: (name) => void child?.kill(name),
    terminate: async () => {
      if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
      const over = once(child, 'exit');
      child.kill('SIGTERM');
      await over;
      return child.exitCode;
    },
    kill,
    remove: async () => {
      await kill();
      removeData();
    },
  };
}

function environment(options: ProductOptions): Record<string, string> {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(kept),
    FAREBOX_OPERATOR_KEY: OPERATOR_KEY,
    ...(options.redisUrl ? { REDIS_URL: options.redisUrl } : {}),
    ...(options.databaseUrl ? { DATABASE_URL: options.databaseUrl } : {}),
    ...options.env,
  };
}

function call(url: string): Product['api'] {
  return async (method, path, body) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${OPERATOR_KEY}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: answer.status, body: (await answer.json().catch(() => ({}))) as Record<string, unknown> };
  };
}

async function customer(api: Product['api'], credits: number): Promise<Customer> {
  const good = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const answer = await api('POST', path, body);
    if (answer.status >= 300) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const orgId = String((await good('/api/v1/admin/orgs', { name: 'Proof' }))['id']);
  await good(`/api/v1/admin/orgs/${orgId}/grants`, { credits, reason: 'proof' });
  const token = await good(`/api/v1/orgs/${orgId}/tokens`, { name: 'proof' });
  return { orgId, tokenId: String(token['id']), token: String(token['secret']) };
}

/** Milliseconds until `/readyz` says so; throws when it never does. */
async function ready(url: string, child: ChildProcess | undefined, output: () => string, patienceMs = READY_MS): Promise<number> {
  const started = Date.now();
  for (;;) {
    if (!child || child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the server ended (${child?.exitCode ?? child?.signalCode}):\n${output().slice(-4_000)}`);
    const status = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
      (answer) => answer.arrayBuffer().then(() => answer.status),
      () => 0,
    );
    if (status === 200) return Date.now() - started;
    if (Date.now() - started > patienceMs) throw new Error(`the server was not ready after ${patienceMs} ms:\n${output().slice(-4_000)}`);
    await new Promise((go) => setTimeout(go, 25));
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(child.pid ?? Number.NaN), signal);
  } catch {
    // The group is gone already, which is what was wanted.
  }
}

/** The children say what they are in their title, or, while they start, in their environment. */
function partsOf(parent: number): { gateways: number[]; office: number[] } {
  const found = { gateways: [] as number[], office: [] as number[] };
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parentOf = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]);
      if (parentOf !== parent) continue;
      const part = /\0FAREBOX_PART=(\w+)/.exec(`\0${readFileSync(`/proc/${name}/environ`, 'utf8')}`)?.[1];
      if (part === 'gateway') found.gateways.push(Number(name));
      if (part === 'office') found.office.push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** Which of these processes has the connection that comes from this local port. */
export function ownerOf(port: number, pids: readonly number[]): number | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find((one) => one.trim().split(/\s+/)[1]?.endsWith(`:${hex}`) === true);
  const inode = line?.trim().split(/\s+/)[9];
  return pids.find((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
        } catch {
          return false;
        }
      });
    } catch {
      return false;
    }
  });
}
