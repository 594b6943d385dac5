import type { OrgId, RequestId, TokenId } from './ids.js';

/** How a request ended. `complete` needs `[DONE]` or a finish reason on every choice, never a closed socket alone. */
export type RequestStatus = 'complete' | 'partial' | 'cancelled' | 'orphaned' | 'failed' | 'rejected';

/** Who counted: the upstream's own numbers, or ours by the published counting rule. */
export type UsageSource = 'upstream' | 'estimated';

/**
 * What was used. `input` and `output` are totals as the wire reports them: cached and cache-write tokens are inside
 * `input`, reasoning inside `output`. Pricing subtracts the subsets, so nothing is counted twice.
 */
export interface Usage {
  readonly input: number;
  readonly cached_input: number;
  readonly cache_write_5m: number;
  readonly cache_write_1h: number;
  readonly output: number;
  readonly reasoning: number;
  readonly audio_input: number;
  readonly audio_output: number;
  readonly images: number;
  readonly seconds: number;
  readonly characters: number;
  /** Custom meters by name; absent when there are none. */
  readonly meters?: Readonly<Record<string, number>>;
}

/** Nothing but text in and text out. Each by name: to spread a frozen object makes one that is slow, large and old. */
export const textUsage = (input: number, output: number): Usage => ({
  input,
  cached_input: 0,
  cache_write_5m: 0,
  cache_write_1h: 0,
  output,
  reasoning: 0,
  audio_input: 0,
  audio_output: 0,
  images: 0,
  seconds: 0,
  characters: 0,
});

/** Nothing used: what every count starts from. */
export const NO_USAGE: Usage = Object.freeze(textUsage(0, 0));

/** One priced part of a charge: quantity × rate, the rate as an exact fraction of micro-credits per unit. */
export interface ChargeLine {
  readonly meter: string;
  readonly quantity: number;
  readonly rate: string; // "15" or "1/3": micro-credits per single unit, exact
}

/** Everything needed to compute the charge again, bit for bit, without the price book. */
export interface Breakdown {
  readonly lines: readonly ChargeLine[];
  /** Product of group, organization and plan multipliers, an exact fraction such as "4/5". */
  readonly times: string;
}

/** One try at one upstream: what it answered, or how it failed. */
export interface Try {
  readonly upstream: string;
  readonly status?: number;
  readonly failure?: string;
  /** Until that was known. */
  readonly ms: number;
}

/** How an unusual request came to its answer. What is not there was as usual. Times are milliseconds from its last byte. */
export interface Trace {
  /** In order, when there was more than the one that answered. */
  tries?: Try[];
  /** How long its credits took to be set aside, when that was long. */
  held_ms?: number;
  /** When the hold grew, and to how much. */
  extended?: { readonly ms: number; readonly amount: number }[];
  /** When we counted although the upstream had said something: both. */
  reported?: { readonly input: number; readonly output: number };
  counted?: { readonly input: number; readonly output: number };
}

/**
 * One settled request on its way to the ledger. The gateway writes it, the hot store carries it unread, the drain hands
 * it to Postgres as it is. Its names are the columns of `usage_records`.
 */
export interface ChargeEvent {
  readonly request_id: RequestId;
  readonly org_id: OrgId;
  readonly token_id: TokenId;
  /** `floor` is what a request that vanished had already earned; a `final` for the same request replaces it. */
  readonly kind: 'floor' | 'final';
  readonly status: RequestStatus;
  /** The name the client asked for. */
  readonly model: string;
  /** The name the upstream was asked for. */
  readonly served_model: string;
  readonly endpoint: string;
  readonly upstream: string;
  readonly stream: boolean;
  readonly http_status: number;
  /** Micro-credits taken. */
  readonly cost: number;
  /** Micro-credits that were set aside. */
  readonly held: number;
  /** True when the charge went beyond its hold (mode `normal` only). */
  readonly debt: boolean;
  /** Micro-credits used beyond the hold and carried by the operator (mode `strict` only). */
  readonly operator_loss: number;
  readonly source: UsageSource;
  readonly usage: Usage;
  readonly price_version: string;
  readonly breakdown: Breakdown;
  readonly client_request_id: string | null;
  readonly end_user: string | null;
  readonly agent: string | null;
  readonly conversation: string | null;
  readonly finish_reason: string | null;
  readonly latency_ms: number;
  readonly ttft_ms: number | null;
  /** Short machine words about anything unusual: `usage_absurd`, `usage_missing`, `zero_usage_with_output` … */
  readonly flags: readonly string[];
  readonly attempts: number;
  readonly trace?: Trace | null;
}
