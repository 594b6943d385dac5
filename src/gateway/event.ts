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

type Who = Pick<
  ChargeEvent,
  'request_id' | 'org_id' | 'token_id' | 'model' | 'endpoint' | 'stream' | 'client_request_id' | 'end_user' | 'agent' | 'conversation'
>;
type What = Omit<ChargeEvent, keyof Who>;

/** The row that the drain will book, as JSON. Written once here; the hot store and the drain carry it unread. */
export function chargeEvent(exchange: Exchange, ending: Ending): string {
  const what: What = {
    kind: ending.kind,
    status: ending.status,
    served_model: ending.candidate?.servedModel ?? exchange.asked.model,
    upstream: ending.candidate?.upstream.settings.name ?? '',
    http_status: ending.httpStatus,
    cost: ending.cost,
    held: ending.held,
    debt: ending.debt,
    operator_loss: ending.operatorLoss,
    source: ending.source,
    usage: ending.usage,
    price_version: ending.priceVersion,
    breakdown: ending.breakdown,
    finish_reason: ending.finishReason,
    latency_ms: ending.latencyMs,
    ttft_ms: ending.ttftMs,
    flags: ending.flags,
    attempts: ending.attempts,
  };
  return `${whoOf(exchange)},${storable(JSON.stringify(what)).slice(1)}`;
}

const written = new WeakMap<Exchange['asked'], string>();

/** The half of every row of a request that never changes: it is written for the hold, and used again for the charge. */
function whoOf(exchange: Exchange): string {
  const { asked } = exchange;
  const known = written.get(asked);
  if (known !== undefined) return known;
  const { caller, req } = exchange;
  const who: Who = {
    request_id: exchange.id,
    org_id: caller.orgId,
    token_id: caller.tokenId,
    model: asked.model,
    endpoint: exchange.endpoint.path,
    stream: asked.stream,
    client_request_id: headerText(req.headers['x-request-id']),
    end_user: asked.endUser,
    agent: headerText(req.headers['x-agent-id']) ?? caller.token.agent,
    conversation: headerText(req.headers['x-conversation-id']) ?? asked.conversation,
  };
  const text = storable(JSON.stringify(who)).slice(0, -1);
  written.set(asked, text);
  return text;
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
  if (!hold.floor) return freshNote(exchange, hold);
  return chargeEvent(exchange, {
    ...ORPHANED,
    candidate: hold.candidate,
    httpStatus: hold.floor.httpStatus,
    cost: hold.floor.cost,
    held: hold.amount,
    usage: hold.floor.usage,
    priceVersion: hold.priceVersion,
    breakdown: hold.floor.breakdown,
  });
}

const ORPHANED = {
  kind: 'floor',
  status: 'orphaned',
  debt: false,
  operatorLoss: 0,
  source: 'estimated',
  finishReason: null,
  latencyMs: 0,
  ttftMs: null,
  flags: ['owner_vanished'],
  attempts: 1,
} as const;

/** The part of a note without a floor that is the same for every request: one is written for each hold. */
const FRESH = [
  '"kind":"floor","status":"orphaned","http_status":0,"cost":0,"debt":false,"operator_loss":0,"source":"estimated"',
  `"usage":${JSON.stringify(NO_USAGE)}`,
  '"breakdown":{"lines":[],"times":"1"},"finish_reason":null,"latency_ms":0,"ttft_ms":null,"flags":["owner_vanished"],"attempts":1',
].join(',');

function freshNote(
  exchange: Exchange,
  hold: { readonly amount: number; readonly priceVersion: string; readonly candidate: PricedCandidate | undefined },
): string {
  const { candidate } = hold;
  const where = candidate ? textOf(candidate) : '"served_model":"","upstream":""';
  return `${whoOf(exchange)},${FRESH},${where},"held":${hold.amount},"price_version":"${hold.priceVersion}"}`;
}

const textOf = (candidate: PricedCandidate): string =>
  storable(`"served_model":${JSON.stringify(candidate.servedModel)},"upstream":${JSON.stringify(candidate.upstream.settings.name)}`);

function headerText(value: string | string[] | undefined): string | null {
  return typeof value === 'string' && value.length > 0 ? value.slice(0, 256) : null;
}

/** Postgres text cannot hold a NUL and JSON it reads cannot hold half a surrogate pair; both can come in a name. */
function storable(json: string): string {
  return json.includes('\\u') ? json.replace(/\\u(?:0000|d[89a-f][0-9a-f]{2})/gi, '\\ufffd') : json;
}
