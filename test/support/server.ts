import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { ask } from './sse.js';

export interface FareboxOptions {
  /** Where the models of the default configuration live: `upstream.url`. */
  readonly upstream?: string;
  /** Laid over the default configuration, folder by folder; a string replaces it and is written as it is. */
  readonly config?: string | Record<string, unknown>;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** No configuration file at all: the built-in demo, as on a first start. */
  readonly embedded?: boolean;
  readonly redisUrl?: string;
  readonly databaseUrl?: string;
  /** Gateway processes, when Redis is used. */
  readonly processes?: number;
  /** A data folder that outlives this server, e.g. to start another one on it. */
  readonly data?: string;
  readonly port?: number;
  /** Resolve as soon as the process runs, without waiting for `/readyz`. */
  readonly waitForReady?: boolean;
}

export interface Farebox {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly data: string;
  /** Read from the data folder, as a person would. */
  readonly operatorKey: string;
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  createOrg(name?: string): Promise<string>;
  grant(orgId: string, credits: string | number, reason?: string): Promise<void>;
  createToken(orgId: string, options?: Record<string, unknown>): Promise<{ id: string; secret: string }>;
  balance(orgId: string): Promise<Record<string, unknown>>;
  logs(orgId: string, query?: string): Promise<Record<string, unknown>[]>;
  reconcile(): Promise<{ clean: boolean; findings: unknown[] }>;
  /** An organization with credits and a token, for tests that only need somebody who can pay. */
  customer(credits?: string | number): Promise<{ orgId: string; tokenId: string; token: string }>;
  /** Any call with the operator key. */
  api(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }>;
  ready(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL to the process and all its children. */
  kill(): Promise<void>;
  /** The same server again, on the same port and data. */
  restart(): Promise<Farebox>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const READY_MS = 60_000;
const STOP_MS = 45_000;
const running = new Set<ChildProcess>();
const folders = new Set<string>();

afterAll(async () => {
  await Promise.all([...running].map(killGroup));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});
process.on('exit', () => {
  for (const child of running) signalGroup(child, 'SIGKILL');
});

/** Starts the real product, as a process of its own, in a folder of its own. */
export async function startFarebox(options: FareboxOptions = {}): Promise<Farebox> {
  const data = options.data ?? mkdtempSync(join(tmpdir(), 'farebox-data-'));
  if (options.data === undefined) folders.add(data);
  mkdirSync(data, { recursive: true });
  const port = options.port ?? (await freePort());
  const config = options.embedded ? [] : ['--config', writeConfig(data, options)];
  const args = ['start', ...config, '--data', data, '--port', String(port), ...(options.args ?? [])];
  const child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'src', 'cli.ts'), ...args], {
    cwd: ROOT,
    env: environment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a group of its own, so that kill() reaches the children too
  });
  running.add(child);
  child.on('exit', () => running.delete(child));
  const server = describeServer(child, data, port, { ...options, data, port });
  if (options.waitForReady !== false) await server.ready();
  return server;
}

function describeServer(child: ChildProcess, data: string, port: number, options: FareboxOptions): Farebox {
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const url = `http://127.0.0.1:${port}`;
  const key = () => options.env?.['FAREBOX_OPERATOR_KEY'] ?? readFileSync(join(data, 'operator.key'), 'utf8').trim();
  // Each with a connection of its own: tests end processes, and one that is kept may close just when it is used again.
  const api = async (method: string, path: string, body?: unknown) => {
    const answer = await ask(`${url}${path}`, { method, token: key(), ...(body === undefined ? {} : { json: body }) });
    if (answer.ending !== 'complete') throw new Error(`${method} ${path}: ${answer.ending}`);
    return { status: answer.status, headers: new Headers([...answer.headers]), body: answer.json ?? {} };
  };
  return {
    url,
    port,
    pid: child.pid ?? 0,
    data,
    get operatorKey() {
      return key();
    },
    child,
    stdout,
    stderr,
    api,
    ...verbs(api),
    ready: () => ready(child, url, () => `${stdout()}\n${stderr()}`),
    stop: () => stop(child),
    kill: () => killGroup(child),
    restart: async () => {
      await stop(child);
      return startFarebox(options);
    },
  };
}

type Api = Farebox['api'];
type Verbs = Pick<Farebox, 'createOrg' | 'grant' | 'createToken' | 'balance' | 'logs' | 'reconcile' | 'customer'>;

function verbs(api: Api): Verbs {
  const good = async (method: string, path: string, body?: unknown) => {
    const answer = await api(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const createOrg = async (name = 'Test Company') => String((await good('POST', '/api/v1/admin/orgs', { name }))['id']);
  const grant = async (orgId: string, credits: string | number, reason = 'test') => {
    await good('POST', `/api/v1/admin/orgs/${orgId}/grants`, { credits, reason });
  };
  const createToken = async (orgId: string, options: Record<string, unknown> = {}) => {
    const made = await good('POST', `/api/v1/orgs/${orgId}/tokens`, { name: 'test', ...options });
    return { id: String(made['id']), secret: String(made['secret']) };
  };
  return {
    createOrg,
    grant,
    createToken,
    balance: (orgId) => good('GET', `/api/v1/orgs/${orgId}/balance`),
    logs: async (orgId, query = '') => (await good('GET', `/api/v1/orgs/${orgId}/logs${query}`))['data'] as Record<string, unknown>[],
    reconcile: async () => (await good('GET', '/api/v1/admin/reconciliation')) as { clean: boolean; findings: unknown[] },
    customer: async (credits = 100) => {
      const orgId = await createOrg();
      await grant(orgId, credits);
      const token = await createToken(orgId);
      return { orgId, tokenId: token.id, token: token.secret };
    },
  };
}

function writeConfig(data: string, options: FareboxOptions): string {
  const file = join(data, 'config.yaml');
  const processes = options.processes === undefined ? {} : { server: { gateway_processes: options.processes } };
  const text =
    typeof options.config === 'string'
      ? options.config
      : JSON.stringify(overlay(overlay(defaults(options), processes), options.config ?? {}));
  writeFileSync(file, text); // JSON is YAML
  return file;
}

function defaults(options: FareboxOptions): Record<string, unknown> {
  return {
    credits: { value: '0.01 USD', base: 200 },
    upstreams: { fake: { base_url: options.upstream ?? 'http://127.0.0.1:9/v1', api_key: 'upstream-secret', models: ['fake-*'] } },
    models: { 'fake-model': { ratio: 1, output: '4x', cached: '0.5x' } },
  };
}

function overlay(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const result = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const below = result[name];
    result[name] = isPlain(below) && isPlain(value) ? overlay(below, value) : value;
  }
  return result;
}

const isPlain = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Nothing of the developer's own settings may leak in. */
function environment(options: FareboxOptions): Record<string, string> {
  const ours = /^(?:FAREBOX_|DATABASE_URL$|REDIS_URL$|PORT$|OPENAI_|NODE_OPTIONS$|VITEST|NODE_ENV$)/;
  const kept = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined && !ours.test(entry[0]));
  return {
    ...Object.fromEntries(kept),
    ...(options.redisUrl ? { REDIS_URL: options.redisUrl } : {}),
    ...(options.databaseUrl ? { DATABASE_URL: options.databaseUrl } : {}),
    ...options.env,
  };
}

async function ready(child: ChildProcess, url: string, output: () => string): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`farebox ended (${child.exitCode ?? child.signalCode}):\n${output()}`);
    const status = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
      (answer) => answer.arrayBuffer().then(() => answer.status),
      () => 0,
    );
    if (status === 200) return;
    if (Date.now() > deadline) throw new Error(`farebox was not ready after ${READY_MS} ms (last status ${status}):\n${output()}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  child.kill('SIGTERM');
  const late = setTimeout(() => signalGroup(child, 'SIGKILL'), STOP_MS);
  await once(child, 'exit');
  clearTimeout(late);
  return child.exitCode;
}

async function killGroup(child: ChildProcess): Promise<void> {
  const over = child.exitCode !== null || child.signalCode !== null ? undefined : once(child, 'exit');
  signalGroup(child, 'SIGKILL');
  await over;
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(child.pid ?? Number.NaN), signal);
  } catch {
    // The group is gone already, which is what was wanted.
  }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const parts: Buffer[] = [];
  stream?.on('data', (bytes: Buffer) => parts.push(bytes));
  return () => Buffer.concat(parts).toString('utf8');
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}
