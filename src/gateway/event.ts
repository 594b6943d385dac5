import { type Breakdown, NO_USAGE, type RequestStatus, type Trace, type Usage, type UsageSource } from '../domain/charge.js';
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

/** The row that the drain will book: a `ChargeEvent` as JSON, written once here; hot store and drain carry it unread. */
export function chargeEvent(exchange: Exchange, ending: Ending): string {
  const { candidate } = ending;
  const served = candidate ? candidate.named : namedOf(exchange.asked.model, '');
  const reason = ending.finishReason === null ? '' : `"finish_reason":${storable(JSON.stringify(ending.finishReason))},`;
  const firstByte = ending.ttftMs === null ? '' : `"ttft_ms":${ending.ttftMs},`;
  const flags = ending.flags.length === 0 ? '' : `"flags":${storable(JSON.stringify(ending.flags))},`;
  const beyond = `${ending.debt ? '"debt":true,' : ''}${ending.operatorLoss > 0 ? `"operator_loss":${ending.operatorLoss},` : ''}`;
  return (
    `${whoOf(exchange)},${served},"kind":"${ending.kind}","status":"${ending.status}","http_status":${ending.httpStatus},` +
    `"cost":${ending.cost},"held":${ending.held},${beyond}"source":"${ending.source}","usage":${usageJson(ending.usage)},` +
    `"price_version":"${ending.priceVersion}","breakdown":${breakdownJson(ending.breakdown)},${reason}` +
    `"latency_ms":${ending.latencyMs},${firstByte}${flags}"attempts":${ending.attempts}${exchange.trace === null ? '' : traceJson(exchange.trace)}}`
  );
}

const traceJson = (trace: Trace): string => `,"trace":${storable(JSON.stringify(trace))}`;

/** Most requests are as usual, and never have one. */
export function traceOf(exchange: Exchange): Trace {
  exchange.trace ??= {};
  return exchange.trace;
}

/** Nothing is said of what was not used; the drain knows that a count which is not there is 0. */
function usageJson(usage: Usage): string {
  const { meters } = usage;
  let text = '';
  for (let i = 0; i < COUNTS.length; i++) {
    const name = COUNTS[i] as Count;
    const value = usage[name];
    if (value !== 0) text += `${text === '' ? '' : ','}"${name}":${value}`;
  }
  if (meters) text += `${text === '' ? '' : ','}"meters":${storable(JSON.stringify(meters))}`;
  return `{${text}}`;
}

type Count = Exclude<keyof Usage, 'meters'>;
const COUNTS = Object.keys(NO_USAGE) as Count[];

function breakdownJson({ lines, times }: Breakdown): string {
  let text = '';
  for (const { meter, quantity, rate } of lines) {
    text += `${text === '' ? '' : ','}{"meter":${meterJson(meter)},"quantity":${quantity},"rate":"${rate}"}`;
  }
  return `{"lines":[${text}],"times":"${times}"}`;
}

/** Names of meters are the operator's and few. */
const meters = new Map<string, string>();

function meterJson(meter: string): string {
  let text = meters.get(meter);
  if (text === undefined) {
    text = storable(JSON.stringify(meter));
    if (meters.size < 1_000) meters.set(meter, text);
  }
  return text;
}

/** The half of every row of a request that never changes: it is written for the hold, and used again for the charge. */
function whoOf(exchange: Exchange): string {
  if (exchange.who !== null) return exchange.who;
  const { asked, caller } = exchange;
  const { headers } = exchange.req;
  const given =
    member('client_request_id', headers['x-request-id']) +
    member('end_user', asked.endUser) +
    member('agent', headers['x-agent-id'] || (asked.agent ?? caller.token.agent)) +
    member('conversation', headers['x-conversation-id'] || asked.conversation);
  const model = storable(JSON.stringify(asked.model));
  exchange.who =
    `{"request_id":"${exchange.id}","org_id":"${caller.orgId}","token_id":"${caller.tokenId}","model":${model},` +
    `"endpoint":"${exchange.endpoint.path}","stream":${asked.stream}${given === '' ? '' : storable(given)}`;
  return exchange.who;
}

/** The same of a request that never came so far, as plain values. */
export function attributionOf(
  { headers }: Exchange['req'],
  caller: Exchange['caller'],
  asked: Exchange['asked'] | null,
): { readonly [name in 'client_request_id' | 'end_user' | 'agent' | 'conversation']: string | null } {
  return {
    client_request_id: said(headers['x-request-id']),
    end_user: said(asked?.endUser),
    agent: said(headers['x-agent-id'] || (asked?.agent ?? caller.token.agent)),
    conversation: said(headers['x-conversation-id'] || asked?.conversation),
  };
}

/** What whoever sweeps this hold writes if its owner vanishes: so far nothing is owed. */
export function orphanNote(
  exchange: Exchange,
  hold: {
    readonly amount: number;
    readonly priceVersion: string;
    readonly candidate: PricedCandidate | undefined;
    readonly floor?: Pick<Ending, 'cost' | 'usage' | 'breakdown' | 'httpStatus'> | undefined;
  },
): string {
  if (!hold.floor) return freshNote(exchange, hold);
  // Each by name: what is spread here is made every second for every stream, and takes kilobytes of the old generation.
  return chargeEvent(exchange, {
    kind: ORPHANED.kind,
    status: ORPHANED.status,
    candidate: hold.candidate,
    httpStatus: hold.floor.httpStatus,
    cost: hold.floor.cost,
    held: hold.amount,
    debt: ORPHANED.debt,
    operatorLoss: ORPHANED.operatorLoss,
    source: ORPHANED.source,
    usage: hold.floor.usage,
    priceVersion: hold.priceVersion,
    breakdown: hold.floor.breakdown,
    finishReason: ORPHANED.finishReason,
    latencyMs: ORPHANED.latencyMs,
    ttftMs: ORPHANED.ttftMs,
    flags: ORPHANED.flags,
    attempts: ORPHANED.attempts,
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

/** Who asked for what, and nothing of an answer: the rest of its row is filled in by whoever has to book it. */
function freshNote(exchange: Exchange, hold: { readonly priceVersion: string; readonly candidate: PricedCandidate | undefined }): string {
  const { candidate } = hold;
  const where = candidate ? candidate.named : namedOf('', '');
  return `${whoOf(exchange)},${where},"price_version":"${hold.priceVersion}"}`;
}

/** The whole row behind a note of this process's last life. */
export function rowOf(note: string, hold: { readonly amount: number; readonly floor: number }): string {
  const { operatorLoss, finishReason, latencyMs, ttftMs, ...same } = ORPHANED;
  const defaults = {
    ...same,
    operator_loss: operatorLoss,
    finish_reason: finishReason,
    latency_ms: latencyMs,
    ttft_ms: ttftMs,
    http_status: 0,
    usage: NO_USAGE,
    breakdown: { lines: [], times: '1' },
    held: hold.amount,
  };
  return JSON.stringify({ ...defaults, ...(JSON.parse(note) as object), cost: hold.floor });
}

/** How a row says who served it. */
export const namedOf = (servedModel: string, upstream: string): string =>
  storable(`"served_model":${JSON.stringify(servedModel)},"upstream":${JSON.stringify(upstream)}`);

/** Nothing for what nobody said. */
function member(name: string, value: string | string[] | null | undefined): string {
  return typeof value === 'string' && value.length > 0 ? `,"${name}":${JSON.stringify(value.slice(0, 256))}` : '';
}

function said(value: string | string[] | null | undefined): string | null {
  return typeof value === 'string' && value.length > 0 ? value.slice(0, 256) : null;
}

/** Postgres text cannot hold a NUL and JSON it reads cannot hold half a surrogate pair; both can come in a name. */
function storable(json: string): string {
  return json.includes('\\u') ? json.replace(/\\u(?:0000|d[89a-f][0-9a-f]{2})/gi, '\\ufffd') : json;
}
