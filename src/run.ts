import cluster from 'node:cluster';
import { renameSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { firstStart, laterStart, type Place, type Progress } from './banner.js';
import { describeFinding } from './config/finding.js';
import type { Loaded, LoadOptions } from './config/load.js';
import type { Secrets } from './config/secrets.js';
import { watchConfig } from './config/watch.js';
import type { CreditStore } from './credits/store.js';
import type { Database } from './db/client.js';
import { giveLease, takeLease } from './db/lease.js';
import { createFront, type Front, hostFor } from './front.js';
import { createOfficeRelay } from './gateway/office.js';
import { createOffice, type Office } from './office.js';
import { buildBook, type PriceBook } from './pricing/book.js';
import { pulseOf, pulsesFromPrimary, sharePulse } from './pulse.js';
import { onRefusedMessage, refusedToPrimary } from './refused.js';
import { hasTakenOver, onRetire } from './rolling.js';
import type { InForce } from './serverPort.js';
import { metricsFromPrimary, SLOT_VARIABLE } from './supervisor.js';
import type { Log } from './telemetry/log.js';
import { createMetrics, type Metrics, ownText, shareWithPrimary } from './telemetry/metrics.js';
import type { Pulses } from './telemetry/pulse.js';

/** What every process has read before it starts anything. */
export interface Start {
  readonly loaded: Extract<Loaded, { ok: true }>;
  readonly load: LoadOptions;
  readonly secrets: Extract<Secrets, { ok: true }>;
  readonly log: Log;
  readonly progress: Progress;
}

type WithStore = Start & { readonly store: CreditStore };
type WithBoth = WithStore & { readonly db: Database };

/** Everything in one process: embedded, or on a Postgres of its own. */
export async function runWhole(start: WithBoth & { readonly mode: Place['mode'] }): Promise<number> {
  const { settings } = start.loaded;
  const metrics = createMetrics();
  // The embedded database is in the data folder, whose lock says the same.
  const alone = start.mode === 'database' ? await holdAlone(start) : null;
  const inForce = inForceOf(start);
  const pulses = async (): Promise<Pulses> => ({ pulses: [pulseOf('whole', 0, front.pulse())], silent: 0 });
  const office = createOffice(officeDeps(start, metrics, { inForce, pulses }));
  const front = createFront({
    ...frontDeps(start, metrics),
    metricsText: () => ownText(metrics),
    others: settings.roles.includes('api') ? office.listener : null,
    onRefused: office.refused,
  });
  const port = await front.listen();
  await office.pricesInForce(inForce.book);
  await greet(office, { ...placeOf(start, port), mode: start.mode });
  office.jobs.start();
  const watch = watching({ start, metrics, front, inForce }, (next) => {
    office.pricesInForce(next).catch((error) => start.log.error({ err: error }, 'the new price version was not stored yet'));
  });
  await stopSignal(() => front.cut(), watch.reload);
  const settled = await front.shutdown();
  await office.jobs.stop();
  await alone?.release();
  watch.close();
  if (!settled) start.log.warn('some settlements are only in the journal; the next start books them');
  return 0;
}

/** One of several gateway processes. It never sees the database. */
export async function runGateway(start: WithStore): Promise<number> {
  const { settings } = start.loaded;
  await mustWork(start.store);
  const metrics = createMetrics();
  shareWithPrimary(metrics);
  const relay = createOfficeRelay(socketOf(start), settings);
  const front = createFront({
    ...frontDeps(start, metrics),
    metricsText: metricsFromPrimary(),
    others: relay.handle,
    onRefused: refusedToPrimary(),
  });
  process.title = `farebox gateway ${cluster.worker?.id ?? ''}`;
  await front.listen();
  sharePulse(() => pulseOf('gateway', Number(process.env[SLOT_VARIABLE] ?? 0), front.pulse()));
  const watch = watching({ start, metrics, front, inForce: inForceOf(start) }, () => undefined);
  const retired = new Promise<'retired'>((resolve) => onRetire(() => resolve('retired')));
  const why = await Promise.race([stopSignal(() => front.cut(), watch.reload), retired]);
  const settled = why === 'retired' ? await front.retire() : await front.shutdown();
  relay.close();
  watch.close();
  if (!settled) start.log.warn({ host: settings.host }, 'some settlements are only in the journal; the next start sends them');
  return 0;
}

/** The one process that reaches Postgres: management API, drain, sweep, heal. */
export async function runOffice(start: WithBoth): Promise<number> {
  process.title = 'farebox office';
  const metrics = createMetrics();
  shareWithPrimary(metrics);
  await mustWork(start.store);
  const inForce = inForceOf(start);
  sharePulse(() => pulseOf('office', 0, null));
  const office = createOffice(officeDeps(start, metrics, { inForce, pulses: pulsesFromPrimary() }));
  const server = await listenOn(socketOf(start), office);
  onRefusedMessage(office.refused);
  await office.pricesInForce(inForce.book);
  await greet(office, { ...placeOf(start, start.loaded.settings.port), mode: 'cluster' });
  office.jobs.start();
  hasTakenOver();
  const watch = watching({ start, metrics, front: null, inForce }, (next) => {
    office.pricesInForce(next).catch((error) => start.log.error({ err: error }, 'the new price version was not stored yet'));
  });
  await stopSignal(() => undefined, watch.reload);
  await closed(server);
  await office.jobs.stop();
  watch.close();
  return 0;
}

const ALONE = 'hot store in a process';
const ALONE_MS = 6_000;

/**
 * Two processes with a hot store of their own on one database would each let the same credits be spent. So the database
 * itself says who has it; a server that was killed is waited for until its lease has run out.
 */
async function holdAlone(start: WithBoth): Promise<{ release(): Promise<void> }> {
  const { db, log, progress } = start;
  const owner = ownerName();
  const take = () => takeLease(db, ALONE, owner, ALONE_MS);
  const untilMs = Date.now() + ALONE_MS + 2_000;
  for (let asked = 0; !(await take()); asked++) {
    if (asked === 0) progress.working('waiting for another server to let go of this database');
    if (Date.now() > untilMs) throw refusal(TAKEN);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  const renewal = setInterval(() => {
    take().then(
      (lease) => lease ?? log.error('another server has taken the lease of this database; stop one of the two'),
      (error) => log.warn({ err: error }, 'the lease of this database was not renewed'),
    );
  }, ALONE_MS / 3);
  return {
    release: async () => {
      clearInterval(renewal);
      await giveLease(db, ALONE, owner).catch(() => undefined);
    },
  };
}

const TAKEN =
  'another server without Redis uses this database. Each would let the same credits be spent: stop the other one, or set REDIS_URL for both.';

const refusal = (sentence: string): Error => Object.assign(new Error(sentence), { publicMessage: sentence });

async function mustWork(store: CreditStore): Promise<void> {
  const checked = await store.check();
  if (!checked.ok) throw refusal(checked.sentence);
}

const ownerName = (): string => `${hostname()}:${process.pid}`;

const socketOf = ({ loaded }: Start): string => resolve(join(loaded.settings.dataDir, 'office.sock'));

function officeDeps(start: WithBoth, metrics: Metrics, known: { readonly inForce: InForce; readonly pulses: () => Promise<Pulses> }) {
  const { settings } = start.loaded;
  const { secret, operatorKey } = start.secrets;
  return { settings, secret, operatorKey, ...known, db: start.db, store: start.store, metrics, log: start.log, owner: ownerName() };
}

function inForceOf({ loaded }: Start): InForce {
  const config = { fromFile: loaded.file !== null, loadedAtMs: Date.now(), bad: null };
  return { book: buildBook(loaded.prices), upstreams: loaded.settings.upstreams, config };
}

function frontDeps(start: WithStore, metrics: Metrics) {
  const { settings, prices } = start.loaded;
  const journalFolder = join(settings.dataDir, 'journal', process.env[SLOT_VARIABLE] ?? '0');
  return { settings, prices, pepper: start.secrets.secret, journalFolder, store: start.store, metrics, log: start.log };
}

function placeOf(start: Start, port: number): Omit<Place, 'mode' | 'setupLink'> {
  const { settings } = start.loaded;
  const url = settings.publicUrl ?? `http://${hostFor(settings.host)}:${port}`;
  return { url, dataDir: settings.dataDir, operatorKeyFile: start.secrets.operatorKeyFile };
}

async function greet(office: Office, known: Omit<Place, 'setupLink'>): Promise<void> {
  const welcomed = await office.welcome();
  const place = { ...known, setupLink: welcomed.setup === null ? null : `${known.url}/setup#token=${welcomed.setup}` };
  process.stdout.write('first' in welcomed ? firstStart(place, welcomed.first) : laterStart(place, welcomed.organizations));
}

interface Watched {
  readonly start: Start;
  readonly metrics: Metrics;
  readonly front: Front | null;
  readonly inForce: InForce;
}

/** New prices and upstreams while running. What is wrong stays out, and is said in log, `/readyz` and metrics. */
function watching({ start, metrics, front, inForce }: Watched, onBook: (book: PriceBook) => void) {
  const { file, hash } = start.loaded;
  if (file === null) return { reload: () => undefined, close: () => undefined };
  const bad = (words: string): void => {
    metrics.configErrors.set(1);
    inForce.config = { ...inForce.config, bad: { atMs: Date.now(), words } };
    front?.health.note('config', 'the file on disk has mistakes; the last good one is in force');
    start.log.error({ words }, 'the configuration was not reloaded');
  };
  return watchConfig({
    file,
    hash,
    load: start.load,
    onChange: (loaded) => {
      if (!loaded.ok) return bad(loaded.findings.map((finding) => describeFinding(finding, loaded.file)).join('; '));
      try {
        const book = buildBook(loaded.prices);
        front?.reload({ prices: loaded.prices, upstreams: loaded.settings.upstreams });
        Object.assign(inForce, { book, upstreams: loaded.settings.upstreams });
        inForce.config = { fromFile: true, loadedAtMs: Date.now(), bad: null };
        onBook(book);
        metrics.configErrors.set(0);
        front?.health.note('config', null);
        start.log.info({ price_version: book.version }, 'the configuration was reloaded');
      } catch (error) {
        bad((error as Error).message);
      }
    },
  });
}

/** Resolves at the first SIGTERM or SIGINT; the next one cuts what is still running. SIGHUP reads the configuration again. */
function stopSignal(cut: () => void, reload: () => void): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) cut();
      stopping = true;
      resolve();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => reload());
    // A parent that vanished cannot stop us any more.
    process.on('disconnect', stop);
  });
}

const ANSWERS_MS = 2_000;

/** Running answers get a moment; whoever listens to live events would stay for ever. */
function closed(server: Server): Promise<void> {
  const late = setTimeout(() => server.closeAllConnections(), ANSWERS_MS);
  return new Promise((resolve) => {
    server.close(() => {
      clearTimeout(late);
      resolve();
    });
  });
}

/** Listens under a name of its own and then takes the address, so that there is always somebody behind it. */
function listenOn(path: string, office: Office): Promise<Server> {
  const own = `${path}.${process.pid}`;
  rmSync(own, { force: true });
  const server = createServer(office.listener);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path: own, exclusive: true }, () => {
      renameSync(own, path);
      resolve(server);
    });
  });
}
