import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createProgress } from './banner.js';
import { describeFinding, type Finding } from './config/finding.js';
import { type Loaded, type LoadOptions, loadConfig } from './config/load.js';
import { resolveSecrets } from './config/secrets.js';
import { createEmbeddedStore } from './credits/embedded/store.js';
import type { CreditStore } from './credits/store.js';
import { openDatabase } from './db/client.js';
import { startEmbeddedPostgres } from './db/embedded/start.js';
import { lockDataFolder } from './db/lock.js';
import { migrate } from './db/migrate.js';
import type { Settings } from './domain/settings.js';
import { adoptJournals } from './gateway/journal.js';
import { runGateway, runOffice, runWhole, type Start } from './run.js';
import { gatewaySlots, PART_VARIABLE, REFUSED_TO_START, supervise } from './supervisor.js';
import { createLog } from './telemetry/log.js';

export interface StartOptions {
  readonly config?: string;
  readonly roles?: string;
  readonly port?: string;
  readonly host?: string;
  readonly data?: string;
}

/** Starts the server and resolves with the exit code when it has ended. Refusals are sentences on standard error. */
export async function startServer(options: StartOptions = {}): Promise<number> {
  const load = loadOptions(options);
  const loaded = loadConfig(load);
  if (!loaded.ok) return refuse(loaded.findings, loaded.file);
  const { settings } = loaded;
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o700 });
  const secrets = resolveSecrets({ env: process.env, dataDir: settings.dataDir });
  if (!secrets.ok) return refuse(secrets.findings, null);
  const log = createLog(settings.logLevel);
  const start: Start = { loaded, load, secrets, log, progress: createProgress() };
  surviveSurprises(start);
  try {
    const part = process.env[PART_VARIABLE];
    if (part === 'gateway') return await gatewayPart(start);
    if (part === 'office') return await officePart(start);
    warn(loaded);
    return await topPart(start);
  } catch (error) {
    return startFailed(error, start);
  }
}

/** The process a person started: everything in one, or the parent of many. */
async function topPart(start: Start): Promise<number> {
  const { settings } = start.loaded;
  const lock = lockDataFolder(settings.dataDir);
  if (lock.kind === 'taken') {
    process.stderr.write(`${lock.sentence}\n`);
    return 1;
  }
  try {
    const clustered = settings.databaseUrl !== null && settings.redisUrl !== null;
    adoptJournals(join(settings.dataDir, 'journal'), clustered ? gatewaySlots(settings) : [0]);
    if (clustered) return await supervise(settings, start.log);
    if (settings.databaseUrl) return await wholeOn(start, settings.databaseUrl, 'database');
    return await embedded(start);
  } finally {
    lock.release();
  }
}

async function embedded(start: Start): Promise<number> {
  const { settings } = start.loaded;
  start.progress.working('starting the embedded database (the first time takes a few seconds)');
  const postgres = await startEmbeddedPostgres({
    dataDir: settings.dataDir,
    onProgress: (sentence) => start.progress.working(sentence),
    onFatal: (error) => {
      start.log.fatal({ err: error }, 'the embedded database cannot be started again');
      process.kill(process.pid, 'SIGTERM');
    },
  });
  postgres.onRestart(() => start.log.warn('the embedded database died and was started again'));
  try {
    return await wholeOn(start, postgres.url, 'embedded');
  } finally {
    await postgres.stop();
  }
}

async function wholeOn(start: Start, url: string, mode: 'embedded' | 'database'): Promise<number> {
  await prepareDatabase(start, url);
  const db = openDatabase({ url, ...(mode === 'embedded' ? { max: 1 } : {}) });
  const store = createEmbeddedStore();
  try {
    return await runWhole({ ...start, db, store, mode });
  } finally {
    await Promise.allSettled([db.close(), store.close()]);
  }
}

async function gatewayPart(start: Start): Promise<number> {
  const store = await redisStore(start.loaded.settings);
  try {
    return await runGateway({ ...start, store });
  } finally {
    await store.close();
  }
}

async function officePart(start: Start): Promise<number> {
  const { settings } = start.loaded;
  const url = settings.databaseUrl ?? '';
  await prepareDatabase(start, url);
  const db = openDatabase({ url });
  const store = await redisStore(settings);
  try {
    return await runOffice({ ...start, db, store });
  } finally {
    await Promise.allSettled([db.close(), store.close()]);
  }
}

/** On one connection of its own: a migration is one batch from BEGIN to COMMIT, and a pool could split it. */
async function prepareDatabase(start: Start, url: string): Promise<void> {
  start.progress.working('preparing the database');
  const db = openDatabase({ url, max: 1 });
  try {
    const { applied } = await migrate(db, { owner: `${hostname()}:${process.pid}` });
    start.progress.done(applied.length > 0 ? `database ready, ${applied.length} migrations applied` : 'database ready');
  } finally {
    await db.close();
  }
}

/** Loaded only where it is used: an embedded start need not wait for a Redis client. */
async function redisStore(settings: Settings): Promise<CreditStore> {
  const { createRedisStore } = await import('./credits/redis/store.js');
  return createRedisStore({ url: settings.redisUrl ?? '' });
}

function loadOptions(options: StartOptions): LoadOptions {
  const { config, ...rest } = options;
  return { env: process.env, overrides: rest, ...(config === undefined ? {} : { file: config }) };
}

function refuse(findings: readonly Finding[], file: string | null): number {
  const errors = findings.filter(({ severity }) => severity === 'error');
  process.stderr.write(`Farebox cannot start: ${errors.length === 1 ? 'one thing is' : `${errors.length} things are`} wrong.\n`);
  for (const finding of findings) process.stderr.write(`  ${describeFinding(finding, file)}\n`);
  return process.env[PART_VARIABLE] ? REFUSED_TO_START : 1;
}

function warn(loaded: Extract<Loaded, { ok: true }>): void {
  for (const finding of loaded.warnings) process.stderr.write(`  ${describeFinding(finding, loaded.file)}\n`);
}

const SENTENCES = new Map<string, (settings: Settings) => string>([
  ['EADDRINUSE', ({ host, port }) => `Port ${port} on ${host} is in use. Stop the other program, or choose another port with --port.`],
  ['EACCES', ({ host, port }) => `Port ${port} on ${host} may not be used by this user. Choose one above 1023 with --port.`],
  ['EADDRNOTAVAIL', ({ host }) => `This machine has no address ${host}. Choose another with --host.`],
]);

function startFailed(error: unknown, { loaded, log }: Start): number {
  const { code, publicMessage } = error as { code?: string; publicMessage?: string };
  const sentence = publicMessage ?? SENTENCES.get(code ?? '')?.(loaded.settings);
  if (sentence) process.stderr.write(`Farebox cannot start: ${sentence}\n`);
  else log.fatal({ err: error }, 'the server could not start');
  return process.env[PART_VARIABLE] ? REFUSED_TO_START : 1;
}

const SURPRISES_MAX = 20;

/** One broken request must not end a thousand streams; a process that keeps breaking must. */
function surviveSurprises({ log }: Start): void {
  let surprises = 0;
  const note = (error: unknown): void => {
    log.error({ err: error }, 'an error nobody expected');
    surprises += 1;
    if (surprises > SURPRISES_MAX) process.exit(70);
  };
  setInterval(() => {
    surprises = Math.max(0, surprises - 1);
  }, 10_000).unref();
  process.on('uncaughtException', note);
  process.on('unhandledRejection', note);
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
}
