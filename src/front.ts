import type { RequestListener, Server } from 'node:http';
import { type AddressInfo, Server as TcpServer } from 'node:net';
import type { CreditStore } from './credits/store.js';
import { systemClock } from './domain/clock.js';
import { newRequestId } from './domain/ids.js';
import type { PriceSource } from './domain/prices.js';
import type { RefusedRequest } from './domain/refused.js';
import { SEALED, STRICT_TRANSPORT } from './domain/sealed.js';
import type { Settings, UpstreamSettings } from './domain/settings.js';
import { createGateway, type Gateway } from './gateway/gateway.js';
import { createHealth, type Health } from './gateway/health.js';
import { type Journal, openJournal } from './gateway/journal.js';
import { createHttpServer } from './gateway/server.js';
import { type ShardWatch, watchShards } from './gateway/shards.js';
import { buildBook, type PriceBook } from './pricing/book.js';
import { createTokenCounter, type TokenCounter } from './pricing/tokens.js';
import type { Log } from './telemetry/log.js';
import type { Metrics } from './telemetry/metrics.js';
import type { FrontPulse } from './telemetry/pulse.js';
import { mergeRecent } from './telemetry/recent.js';
import { createUpstreams, type Upstreams } from './upstreams/upstreams.js';

/** The part of a process that faces clients: the HTTP server, the gateway, and who answers everything else. */
export interface Front {
  readonly health: Health;
  prices(): PriceBook;
  pulse(): FrontPulse;
  listen(): Promise<number>;
  /** Prices and upstreams of a new configuration; requests under way keep what they were admitted with. */
  reload(next: { readonly prices: PriceSource; readonly upstreams: readonly UpstreamSettings[] }): void;
  /** Admits nothing new, lets streams finish and settle, and resolves when the hot store has every settlement. */
  shutdown(): Promise<boolean>;
  /** Another process has taken over: takes no new connection, serves those there are to their end, then shuts down. */
  retire(): Promise<boolean>;
  cut(): void;
}

export interface FrontDeps {
  readonly settings: Settings;
  readonly prices: PriceSource;
  readonly pepper: string;
  /** A folder of this process's own, where a killed one left what it had promised. */
  readonly journalFolder: string;
  readonly store: CreditStore;
  readonly metrics: Metrics;
  readonly log: Log;
  /** `/metrics` of this process or of all of them. */
  readonly metricsText: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Whoever answers what is neither `/v1` nor a health path; null = nobody here. */
  readonly others: RequestListener | null;
  /** Takes refused requests to the logs; false = not now. */
  readonly onRefused: (batch: readonly RefusedRequest[]) => boolean;
}

const FLUSH_MS = 15_000;
const LAST_WORDS_MS = 50;

export function createFront(deps: FrontDeps): Front {
  const { settings, store, metrics, log } = deps;
  let book = buildBook(deps.prices);
  let upstreams = createUpstreams(settings.upstreams);
  const counter = createTokenCounter();
  const shards = watchShards(store);
  const health = createHealth(shards);
  const journal = openJournal({
    folder: deps.journalFolder,
    syncMs: settings.gateway.journalSyncMs,
    bytesMax: settings.gateway.journalBytesMax,
    onTrouble: (words) => {
      if (words) log.error({ words }, 'journal');
      health.note('journal', words);
    },
  });
  const gateway = createGateway({
    store,
    settings: settings.gateway,
    credits: settings.credits,
    trustedProxies: settings.trustedProxies,
    pepper: deps.pepper,
    journal,
    shards,
    prices: () => book,
    upstreams: () => upstreams,
    counter,
    metrics,
    log,
    clock: systemClock,
    compat: deps.others,
    onRefused: deps.onRefused,
    publicUrl: settings.publicUrl ?? `http://${hostFor(settings.host)}:${settings.port}`,
  });
  const answer = listener({ gateway, health, deps });
  let isRetired = false;
  const isHttps = settings.publicUrl?.startsWith('https:') ?? false;
  const server = createHttpServer(settings.gateway, (req, res) => {
    if (isRetired) res.setHeader('connection', 'close');
    // Not on the hot path: no browser learns anything from there that it has not learned from a page.
    if (isHttps && !(req.method === 'POST' && req.url?.startsWith('/v1/'))) res.setHeader('strict-transport-security', STRICT_TRANSPORT);
    answer(req, res);
  });
  const end = () => shutdown({ server, gateway, health, shards, counter, upstreams: () => upstreams, drainMs: settings.gateway.drainMs });
  announcePrices(metrics, book);
  return {
    health,
    prices: () => book,
    pulse: () => pulse({ health, gateway, journal, upstreams, metrics, book }),
    listen: () => listen(server, settings),
    reload: (next) => {
      book = buildBook(next.prices);
      announcePrices(metrics, book);
      const old = upstreams;
      upstreams = createUpstreams(next.upstreams, old);
      old.leaveTo(upstreams);
    },
    cut: () => gateway.cut(),
    shutdown: end,
    retire: async () => {
      isRetired = true;
      closeDoor(server);
      await gateway.retire(settings.gateway.drainMs);
      return end();
    },
  };
}

interface Listening {
  readonly gateway: Gateway;
  readonly health: Health;
  readonly deps: FrontDeps;
}

const OWN_PATHS = /^\/(?:healthz|readyz|metrics)(?:\?|$)/;

function listener({ gateway, health, deps }: Listening): RequestListener {
  return (req, res) => {
    const url = req.url ?? '/';
    if (url.startsWith('/v1/')) {
      gateway.handle(req, res);
      return;
    }
    if (OWN_PATHS.test(url)) res.setHeader('x-request-id', newRequestId());
    if (url === '/healthz') json(res, 200, { status: 'ok' });
    else if (url === '/readyz' || url.startsWith('/readyz?')) {
      json(res, health.ready ? 200 : 503, { status: health.ready ? 'ready' : 'not_ready', detail: health.detail });
    } else if (url === '/metrics') {
      deps.metricsText().then(
        ({ contentType, text }) => res.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store', ...SEALED }).end(text),
        (error) => {
          deps.log.warn({ err: error }, 'metrics could not be collected');
          json(res, 503, { status: 'unavailable' });
        },
      );
    } else if (deps.others) deps.others(req, res);
    else gateway.handle(req, res);
  };
}

function json(res: Parameters<RequestListener>[1], status: number, body: object): void {
  const text = JSON.stringify(body);
  res.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...SEALED,
  });
  res.end(text);
}

function listen(server: Server, settings: Settings): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: settings.port, host: settings.host, backlog: 4_096 }, () => {
      server.removeListener('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

interface Closing {
  readonly server: Server;
  readonly gateway: Gateway;
  readonly health: Health;
  readonly shards: ShardWatch;
  readonly counter: TokenCounter;
  readonly upstreams: () => Upstreams;
  readonly drainMs: number;
}

async function shutdown(closing: Closing): Promise<boolean> {
  // Still listening: a balancer has to be able to read the 503 of /readyz, and late requests get an answer.
  closing.health.drain();
  await closing.gateway.drain(closing.drainMs);
  closeDoor(closing.server);
  // What has come through it by now is read, and told to ask somebody else, before its connection goes.
  await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
  closing.server.closeIdleConnections();
  const settled = await closing.gateway.flush(FLUSH_MS);
  closing.gateway.close();
  closing.shards.close();
  closing.server.closeAllConnections();
  await Promise.allSettled([closing.counter.close(), closing.upstreams().destroy()]);
  return settled;
}

/** Only the door: closing an HTTP server would also close connections whose next request is on its way. */
function closeDoor(server: Server): void {
  if (server.listening) TcpServer.prototype.close.call(server);
}

interface Beating {
  readonly health: Health;
  readonly gateway: Gateway;
  readonly journal: Journal;
  readonly upstreams: Upstreams;
  readonly metrics: Metrics;
  readonly book: PriceBook;
}

function pulse({ health, gateway, journal, upstreams, metrics, book }: Beating): FrontPulse {
  const recent = new Map(metrics.recent.read().map((one) => [one.name, one]));
  return {
    ready: health.ready,
    detail: health.detail,
    openRequests: gateway.openRequests,
    priceVersion: book.version,
    journal: { writable: journal.writable, bytes: journal.bytes, unconfirmed: journal.unconfirmed },
    upstreams: upstreams.all.map(({ settings, inFlight }) => ({
      ...(recent.get(settings.name) ?? mergeRecent(settings.name, [])),
      inFlight,
    })),
  };
}

function announcePrices(metrics: Metrics, book: PriceBook): void {
  metrics.priceVersion.reset();
  metrics.priceVersion.set({ version: book.version }, 1);
}

/** An address to put into a URL: a wildcard is no place to go to. */
export const hostFor = (host: string): string =>
  host === '0.0.0.0' || host === '::' || host === '' ? '127.0.0.1' : host.includes(':') ? `[${host.replace(/^\[|\]$/g, '')}]` : host;
