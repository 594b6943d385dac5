import type { CreditValue } from './credits.js';

/**
 * A number exactly as it was written, never a float: digits with an optional fraction, or a fraction of two whole
 * numbers. `0.075` means 3/40 to the last digit.
 */
export type Exact = string;

export const EXACT = /^(0|[1-9]\d{0,17})(\.\d{1,18})?(\/[1-9]\d{0,17})?$/;

/**
 * The prices as the operator wrote them, validated, in plain data: what config hands to pricing. Lists of pairs, not
 * objects, because the names come from outside.
 */
export interface PriceSource {
  readonly credits: {
    /** Credits per 1M input tokens at ratio 1. */
    readonly base: Exact;
    readonly value: CreditValue | null;
  };
  /** Price groups and what they multiply every price by; `default` is 1 unless stated. */
  readonly groups: readonly { readonly name: string; readonly times: Exact }[];
  readonly models: readonly ModelPrice[];
  readonly meters: readonly MeterPrice[];
  /** What a model gets that neither `models` nor the default book prices. */
  readonly unpriced: PriceRule;
  /** Whether well-known models get their list price at the operator's credit value. */
  readonly defaults: boolean;
  /** Whether the built-in model `demo` is priced. */
  readonly demo: boolean;
  /** Tokens set aside for one part of a prompt when its model states no bound (mode `normal`; `strict` refuses). */
  readonly partBounds: PartBounds;
}

export interface PartBounds {
  readonly image: number | null;
  readonly audio: number | null;
  readonly file: number | null;
}

export interface ModelPrice {
  /** An exact name, or a pattern ending in `*`. */
  readonly pattern: string;
  readonly rule: PriceRule;
}

export type PriceRule = RejectRule | FreeRule | LikeRule | RatesRule;

export interface RejectRule {
  readonly kind: 'reject';
}

/** Only by an explicit `free: true`. */
export interface FreeRule extends ModelFacts {
  readonly kind: 'free';
}

/** The price of another model, times a number. */
export interface LikeRule extends ModelFacts {
  readonly kind: 'like';
  readonly model: string;
  readonly times: Exact;
}

export interface RatesRule extends ModelFacts {
  readonly kind: 'rates';
  readonly rates: Rates;
  /** Long context: from a boundary on the whole request, cached and output included, has these rates. */
  readonly tiers: readonly LongContextTier[];
  /** Seconds are rounded up to a multiple of this. */
  readonly stepSeconds: number;
  /** Multipliers by the service tier the upstream reports (`flex`, `priority`, `batch`). */
  readonly serviceTiers?: readonly { readonly name: string; readonly times: Exact }[];
  /** Multipliers by time of day in UTC minutes, half open; may wrap midnight. */
  readonly windows?: readonly { readonly fromMinute: number; readonly toMinute: number; readonly times: Exact }[];
}

/** What is known of a model besides its price; absent = not stated. */
export interface ModelFacts {
  /** Output tokens set aside when a request states no maximum. */
  readonly holdOutput?: number;
  /** The most this model can answer, when the operator knows it. */
  readonly maxOutput?: number;
  readonly bounds?: Partial<PartBounds>;
  /** Under which heading people find it. */
  readonly category?: string;
  /** Whose model it is. */
  readonly provider?: string;
  /** Anything a price list should say beside the price. */
  readonly note?: string;
}

/** What requests are measured by. */
const METERS = [
  'request',
  'input',
  'cached_input',
  'cache_write_5m',
  'cache_write_1h',
  'output',
  'reasoning',
  'audio_input',
  'audio_output',
  'image',
  'second',
  'character',
] as const;

export type Meter = (typeof METERS)[number];

export const isMeter = (name: string): name is Meter => (METERS as readonly string[]).includes(name);

/** A rate that is not stated is not charged, except the subsets: they cost what the whole costs (`docs/prices.md`). */
export type Rates = { readonly [Name in Meter]?: Rate } & {
  /** Anything else an endpoint reports: searches, images by quality and size. */
  readonly custom?: readonly { readonly meter: string; readonly rate: Rate }[];
};

export type Rate =
  /** Credits for a number of units: 250 credits per 1,000,000. */
  | { readonly by: 'credits'; readonly amount: Exact; readonly per: number }
  /** As in one-api: 1 is `credits.base` per 1M. */
  | { readonly by: 'ratio'; readonly amount: Exact }
  /** `4x`: a multiple of this model's input rate. */
  | { readonly by: 'input'; readonly amount: Exact };

export interface LongContextTier {
  /** Input tokens of the request. */
  readonly tokens: number;
  /** `gt`: only above it; `gte`: from it on. Providers disagree, so it is always stated. */
  readonly boundary: 'gt' | 'gte';
  /** Rates that differ; relative ones (`4x`) follow the tier's own input rate. */
  readonly rates: Rates;
}

/** Something sold outside `/v1`: a query, an operation, a minute of a call. */
export interface MeterPrice {
  readonly name: string;
  readonly label: string;
  readonly unit: string;
  readonly amount: Exact;
  readonly per: number;
  /** For time: seconds are rounded up to a multiple of this; 0 for things that are counted. */
  readonly stepSeconds: number;
  readonly critical: boolean;
  readonly free: boolean;
  /** So many units of an organization's month cost nothing; of seconds for what is sold by time. Absent = none. */
  readonly allowance?: number;
  readonly category?: string;
  readonly note?: string;
}
