import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { CreditStore } from '../credits/store.js';
import { type Clock, monotonicMs, steadyClock } from '../domain/clock.js';
import { newRequestId } from '../domain/ids.js';
import { createRates } from '../domain/pace.js';
import type { RefusedRequest } from '../domain/refused.js';
import type { CreditSettings, GatewaySettings } from '../domain/settings.js';
import type { PriceBook } from '../pricing/book.js';
import type { TokenCounter } from '../pricing/tokens.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Upstreams } from '../upstreams/upstreams.js';
import { createAuthenticator } from './authenticate.js';
import { endpointOf } from './endpoints.js';
import { createEntrance } from './entrance.js';
import { afterSmallBody, type GatewayError, sendError, unavailable, unknownPath, wrongMethod } from './errors.js';
import type { GatewayParts, Refusals } from './exchange.js';
import type { Journal } from './journal.js';
import { models } from './models.js';
import { createOpenRequests, type OpenRequests } from './open.js';
import { createOutbox } from './outbox.js';
import { QUESTIONS } from './questions.js';
import { createRecovery, type Recovery } from './recovery.js';
import { createRefusals } from './refusals.js';
import { relay } from './relay.js';
import { createSettlements } from './settlements.js';
import type { ShardWatch } from './shards.js';
import { createTally } from './tally.js';

export interface GatewayDeps {
  readonly store: CreditStore;
  readonly settings: GatewaySettings;
  readonly credits: CreditSettings;
  readonly trustedProxies: readonly string[];
  readonly pepper: string;
  readonly journal: Journal;
  readonly shards: ShardWatch;
  readonly prices: () => PriceBook;
  readonly upstreams: () => Upstreams;
  readonly counter: TokenCounter;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: Clock;
  readonly publicUrl: string;
  /** Whoever answers what a token asks about itself: that needs the books, and the gateway has none. Null = nobody here. */
  readonly compat: RequestListener | null;
  /** Takes refused requests to whoever writes the logs; false = not now. Null = nobody here. */
  readonly onRefused: ((batch: readonly RefusedRequest[]) => boolean) | null;
}

export interface Gateway {
  /** Answers everything under `/v1`. */
  handle(req: IncomingMessage, res: ServerResponse): void;
  readonly openRequests: number;
  /** Admits nothing new, lets running requests finish, at most this long; then they are cut with an error and settled. */
  drain(limitMs: number): Promise<void>;
  /** Goes on serving who is still connected; resolves when nothing runs and everything is booked, or after this long. */
  retire(limitMs: number): Promise<void>;
  /** Ends what is running now, with an error event, and settles it. */
  cut(): void;
  /** Resolves true when the hot store has taken every settlement. */
  flush(limitMs: number): Promise<boolean>;
  close(): void;
}

const TICK_MS = 1_000;
const LOOK_MS = 100;
const TURN_MS = 10;
/** So long a retired process serves connections that are kept open: each is told to close with its next answer. */
const RETIRE_MS = 5_000;

export function createGateway(deps: GatewayDeps): Gateway {
  const { pepper, compat, onRefused, ...rest } = deps;
  const open = createOpenRequests(deps.settings.backgroundFinishMax);
  const outbox = createOutbox(deps);
  const tally = createTally(deps.metrics);
  const settlements = createSettlements({ ...deps, outbox, tally });
  const recovery = createRecovery({ ...deps, outbox, open });
  const authenticator = createAuthenticator({ store: deps.store, pepper });
  const refusals = createRefusals({ metrics: deps.metrics, deliver: onRefused });
  const parts: GatewayParts = { ...rest, authenticator, settlements, open, refusals, tally, pace: createRates(monotonicMs) };
  const stopTicking = startTicking(deps, { open, recovery, refusals });
  void recovery.replay();
  deps.shards.onLook(recovery.look);
  let isCut = false;
  const cut = (): void => {
    isCut = true;
    open.cutAll(shuttingDown());
  };
  const entrance = createEntrance({ ...deps, clock: steadyClock }, (req, res) => route(parts, compat, req, res));
  let draining = false;
  return {
    handle: (req, res) => {
      if (draining) {
        afterSmallBody(req, () =>
          refuse(res, { ...shuttingDown(), headers: { 'retry-after': '1', 'x-should-retry': 'true', connection: 'close' } }),
        );
        return;
      }
      entrance.take({ req, res });
    },
    get openRequests() {
      return open.size;
    },
    cut,
    drain: async (limitMs) => {
      draining = true;
      entrance.open();
      const timer = setTimeout(cut, limitMs);
      while (open.size > 0 || (!isCut && entrance.busy() > 0)) {
        await open.idle();
        await pause(TURN_MS);
      }
      clearTimeout(timer);
    },
    retire: async (limitMs) => {
      const untilMs = monotonicMs() + limitMs;
      await pause(Math.min(RETIRE_MS, limitMs));
      const isNeeded = (): boolean => entrance.busy() + open.size + deps.journal.unconfirmed > 0 || recovery.busy;
      while (monotonicMs() < untilMs && isNeeded()) await pause(TICK_MS / 4);
    },
    flush: (limitMs) => settlements.flush(monotonicMs() + limitMs),
    close: () => {
      stopTicking();
      refusals.close();
      deps.journal.close();
    },
  };
}

interface Ticked {
  readonly open: OpenRequests;
  readonly recovery: Recovery;
  readonly refusals: Refusals;
}

/** Ten times a second open requests are looked at; once a second gauges are read, bookings confirmed, and refusals go to the logs. */
function startTicking(deps: GatewayDeps, { open, recovery, refusals }: Ticked): () => void {
  let recovering = false;
  const recover = async (): Promise<void> => {
    if (recovering) return;
    recovering = true;
    await recovery.tick().catch((error) => deps.log.warn({ err: error }, 'settlements could not be confirmed'));
    recovering = false;
  };
  const ticker = setInterval(() => {
    refusals.tick(monotonicMs());
    deps.metrics.openRequests.set(open.size);
    deps.metrics.creditsHeld.set(deps.metrics.credits(open.held()));
    for (const { settings, inFlight } of deps.upstreams().all) deps.metrics.upstreamInFlight.set({ upstream: settings.name }, inFlight);
    void recover();
  }, TICK_MS);
  const looks = setInterval(() => open.tick(monotonicMs()), LOOK_MS);
  for (const timer of [ticker, looks]) timer.unref();
  return () => {
    for (const timer of [ticker, looks]) clearInterval(timer);
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const shuttingDown = (): GatewayError => unavailable('This server is shutting down. Send the request again.', 'shutting_down');

const MODELS = '/v1/models';

/** Exact paths or nothing: an unknown path is refused, never passed on unpriced. */
function route(parts: GatewayParts, compat: RequestListener | null, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { method = 'GET', url = '/' } = req;
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  const endpoint = endpointOf(path);
  if (endpoint) {
    if (method !== 'POST') return refuse(res, wrongMethod(method, 'POST'));
    return relay(parts, endpoint, req, res);
  }
  if (path === MODELS || path.startsWith(`${MODELS}/`)) {
    if (method !== 'GET') return refuse(res, wrongMethod(method, 'GET'));
    return models(parts, req, res, path === MODELS ? null : decoded(path.slice(MODELS.length + 1)));
  }
  if (!compat || !QUESTIONS.has(path)) return refuse(res, unknownPath(method, path));
  compat(req, res);
  return DONE;
}

const DONE = Promise.resolve();

function refuse(res: ServerResponse, error: GatewayError): Promise<void> {
  sendError(res, error, newRequestId());
  return DONE;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
