import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { formatCredits } from '../domain/credits.js';
import type { Failure } from '../upstreams/forward.js';
import type { GatewayError } from './errors.js';
import type { AdmittedExchange, GatewayParts, PricedCandidate } from './exchange.js';

/** What becomes of an upstream's 2xx answer, from its first byte on. After that there is no other attempt. */
export interface Answer {
  /** False asks the upstream to wait. */
  data(chunk: Buffer): boolean;
  end(): void;
  fail(failure: Failure): void;
  /** Our own wish to end it: time is up, the shutdown, credits gone. */
  cut(error: GatewayError): void;
  eventsDelivered(): number;
}

/** What an answer needs of the transfer it belongs to. */
export interface AnswerContext {
  readonly parts: GatewayParts;
  readonly exchange: AdmittedExchange;
  readonly candidate: PricedCandidate;
  readonly httpStatus: number;
  readonly headers: IncomingHttpHeaders;
  readonly attempts: number;
  readonly ttftMs: number;
  /** The upstream was asked for a usage chunk that the client did not ask for. */
  readonly hideUsage: boolean;
  readonly transfer: {
    stopUpstream(reason: string): void;
    /** The exchange is over for the client; called exactly once. */
    end(ending: string): void;
  };
}

const PASSED_ON = ['content-type', 'openai-model', 'openai-processing-ms', 'openai-version', 'content-language'] as const;

/**
 * What stands above a passed-on answer, name after name as Node takes it without copying. An allow-list: cookies, servers,
 * CORS and the rest of an upstream stay there.
 */
export function answerHeaders({ exchange, headers }: AnswerContext, cost: number | null): string[] {
  const list: string[] = ['x-request-id', exchange.id];
  for (const name of PASSED_ON) {
    const value = headers[name];
    if (typeof value === 'string') list.push(name, value);
  }
  if (cost !== null) list.push('x-credits-charged', formatCredits(cost));
  list.push('x-credits-remaining', formatCredits(remainingAfter(exchange, cost)));
  return list;
}

/** What a refusal says about credits, once something was set aside for it. */
export function creditHeaders(exchange: AdmittedExchange, cost: number | null): OutgoingHttpHeaders {
  return {
    ...(cost === null ? {} : { 'x-credits-charged': formatCredits(cost) }),
    'x-credits-remaining': formatCredits(remainingAfter(exchange, cost)),
  };
}

/** What the token can spend after this charge; while it is not known, all of the hold counts. */
const remainingAfter = ({ admission }: AdmittedExchange, cost: number | null): number =>
  Math.max(0, admission.remaining + admission.amount - (cost ?? admission.amount));
