import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CreditStore } from '../credits/store.js';
import type { RequestStatus, Trace } from '../domain/charge.js';
import type { Clock } from '../domain/clock.js';
import type { MicroCredits } from '../domain/credits.js';
import type { RequestId } from '../domain/ids.js';
import type { Rates } from '../domain/pace.js';
import type { CreditSettings, GatewaySettings } from '../domain/settings.js';
import type { PriceBook } from '../pricing/book.js';
import type { PriceEntry } from '../pricing/entry.js';
import type { Fraction } from '../pricing/fraction.js';
import type { TokenCounter } from '../pricing/tokens.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Candidate } from '../upstreams/pick.js';
import type { Upstream, Upstreams } from '../upstreams/upstreams.js';
import type { Authenticator, Caller } from './authenticate.js';
import type { Endpoint } from './endpoints.js';
import type { Entry } from './entries.js';
import type { GatewayError } from './errors.js';
import type { Journal } from './journal.js';
import type { OpenRequests } from './open.js';
import type { Asked, Places } from './request.js';
import type { GatewayTally } from './tally.js';

/** What every part of the gateway works with. Functions for what a reload may replace. */
export interface GatewayParts {
  readonly store: CreditStore;
  readonly settings: GatewaySettings;
  readonly credits: CreditSettings;
  /** Ranges of the proxies whose X-Forwarded-For counts. */
  readonly trustedProxies: readonly string[];
  readonly prices: () => PriceBook;
  readonly upstreams: () => Upstreams;
  readonly authenticator: Authenticator;
  readonly counter: TokenCounter;
  readonly settlements: Settlements;
  readonly journal: Journal;
  readonly open: OpenRequests;
  readonly refusals: Refusals;
  /** How often the same credential asks what costs nothing. */
  readonly pace: Rates;
  readonly metrics: Metrics;
  readonly tally: GatewayTally;
  readonly log: Log;
  readonly clock: Clock;
  /** Where people resolve a refusal, without a trailing slash. */
  readonly publicUrl: string;
}

/** A candidate with its price for this caller. */
export interface PricedCandidate extends Candidate<Upstream> {
  readonly entry: PriceEntry;
  readonly times: Fraction;
  /** Its names as a row of the ledger has them. */
  readonly named: string;
}

/** What was agreed before the request went upstream. A reload of prices or upstreams cannot change it midway. */
export interface Admission {
  readonly priceVersion: string;
  readonly candidates: readonly PricedCandidate[];
  amount: MicroCredits;
  /** What the token could spend besides, right after the hold. */
  readonly remaining: MicroCredits;
  /** What the journal has of it. */
  readonly entry: Entry;
}

/** One request and its answer. */
export interface Exchange {
  readonly id: RequestId;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly endpoint: Endpoint;
  readonly startedMs: number;
  readonly caller: Caller;
  readonly asked: Asked;
  readonly bytes: Buffer;
  readonly places: Places | null;
  /** The client closed its connection before the answer was whole. */
  gone: boolean;
  /** The half of every row of this request that never changes, once somebody has written it. */
  who: string | null;
  /** Made by the first who has something unusual to tell. */
  trace: Trace | null;
  admission: Admission | null;
}

export interface AdmittedExchange extends Exchange {
  admission: Admission;
}

/** How a request ended, before anything is priced. */
export interface Outcome {
  readonly status: RequestStatus;
  readonly candidate: PricedCandidate | undefined;
  readonly httpStatus: number;
  readonly attempts: number;
  readonly ttftMs: number | null;
  readonly finishReason: string | null;
  /** The upstream's answer came to its regular end, whoever was still there to read it. */
  readonly whole: boolean;
  /** False when by the published rules nothing is owed: the upstream was never asked, or answered with an error. */
  readonly owed: boolean;
  /** The upstream's own report, unread. */
  readonly reported: unknown;
  /** Whether `delivered` is a stream of events or one JSON body. */
  readonly stream: boolean;
  /** What the client was given; counted when the report is missing, cut short or untrue. */
  readonly delivered: readonly Buffer[];
  /** Output tokens beyond what was kept: one for each streamed event, or for four bytes. */
  readonly uncountedEvents: number;
  readonly flags: readonly string[];
}

/** Whoever was refused, as far as it had come by then. */
export interface Refused extends Pick<Exchange, 'id' | 'req' | 'endpoint' | 'caller' | 'startedMs'> {
  readonly asked: Asked | null;
}

/** Refused requests on their way to the logs. Bounded in every direction: what does not fit is counted, never waited for. */
export interface Refusals {
  note(refused: Refused, error: GatewayError): void;
  /** About once a second: hands over what has come together. */
  tick(nowMs: number): void;
  /** Hands over what there is; nothing comes after it. */
  close(): void;
}

export interface Settlements {
  /** Charges and settles. The cost is null when it must be counted first; it is settled then. */
  finish(exchange: AdmittedExchange, outcome: Outcome): MicroCredits | null;
  /** Gives a hold back that may or may not stand. */
  giveBack(exchange: Exchange): void;
  /** Resolves when every settlement has been taken by the hot store, or at the deadline. */
  flush(deadlineMs: number): Promise<boolean>;
}
