import type { Breakdown, ChargeEvent, RequestStatus, Usage, UsageSource } from '../domain/charge.js';
import { NO_USAGE } from '../upstreams/usage.js';
import type { Exchange, PricedCandidate } from './exchange.js';

/** The facts of an ending that the ledger keeps. */
export interface Ending {
  readonly kind: 'floor' | 'final';
  readonly status: RequestStatus;
  readonly candidate: PricedCandidate | undefined;
  readonly httpStatus: number;
  readonly cost: number;
  readonly held: number;
  readonly debt: boolean;
  readonly operatorLoss: number;
  readonly source: UsageSource;
  readonly usage: Usage;
  readonly priceVersion: string;
  readonly breakdown: Breakdown;
  readonly finishReason: string | null;
  readonly latencyMs: number;
  readonly ttftMs: number | null;
  readonly flags: readonly string[];
  readonly attempts: number;
}

const NO_BREAKDOWN: Breakdown = { lines: [], times: '1' };

/** The row that the drain will book, as JSON. Written once here; the hot store and the drain carry it unread. */
export function chargeEvent(exchange: Exchange, ending: Ending): string {
  const { asked, caller, req } = exchange;
  const event: ChargeEvent = {
    request_id: exchange.id,
    org_id: caller.orgId,
    token_id: caller.tokenId,
    kind: ending.kind,
    status: ending.status,
    model: asked.model,
    served_model: ending.candidate?.servedModel ?? asked.model,
    endpoint: exchange.endpoint.path,
    upstream: ending.candidate?.upstream.settings.name ?? '',
    stream: asked.stream,
    http_status: ending.httpStatus,
    cost: ending.cost,
    held: ending.held,
    debt: ending.debt,
    operator_loss: ending.operatorLoss,
    source: ending.source,
    usage: ending.usage,
    price_version: ending.priceVersion,
    breakdown: ending.breakdown,
    client_request_id: headerText(req.headers['x-request-id']),
    end_user: asked.endUser,
    agent: headerText(req.headers['x-agent-id']) ?? caller.token.agent,
    conversation: headerText(req.headers['x-conversation-id']) ?? asked.conversation,
    finish_reason: ending.finishReason,
    latency_ms: ending.latencyMs,
    ttft_ms: ending.ttftMs,
    flags: ending.flags,
    attempts: ending.attempts,
  };
  return storable(JSON.stringify(event));
}

/** What whoever sweeps this hold writes if its owner vanishes: so far nothing is owed. */
export function orphanNote(
  exchange: Exchange,
  hold: {
    readonly amount: number;
    readonly priceVersion: string;
    readonly candidate: PricedCandidate | undefined;
    readonly floor?: Pick<Ending, 'cost' | 'usage' | 'breakdown' | 'httpStatus'>;
  },
): string {
  return chargeEvent(exchange, {
    kind: 'floor',
    status: 'orphaned',
    candidate: hold.candidate,
    httpStatus: hold.floor?.httpStatus ?? 0,
    cost: hold.floor?.cost ?? 0,
    held: hold.amount,
    debt: false,
    operatorLoss: 0,
    source: 'estimated',
    usage: hold.floor?.usage ?? NO_USAGE,
    priceVersion: hold.priceVersion,
    breakdown: hold.floor?.breakdown ?? NO_BREAKDOWN,
    finishReason: null,
    latencyMs: 0,
    ttftMs: null,
    flags: ['owner_vanished'],
    attempts: 1,
  });
}

function headerText(value: string | string[] | undefined): string | null {
  return typeof value === 'string' && value.length > 0 ? value.slice(0, 256) : null;
}

/** Postgres text cannot hold a NUL and JSON it reads cannot hold half a surrogate pair; both can come in a name. */
function storable(json: string): string {
  return /\\u(?:0000|d[89a-f][0-9a-f]{2})/i.test(json) ? json.replace(/\\u(?:0000|d[89a-f][0-9a-f]{2})/gi, '\\ufffd') : json;
}
