import type { LongContextTier, Meter, ModelFacts, Rate, Rates, RatesRule } from '../domain/prices.js';
import { type Fraction, fraction, larger, lcm, multiply, NOTHING, ONE, parseExact } from './fraction.js';
import { type Words, wordsOf } from './words.js';

/** The price of one model, compiled: frozen, self-contained, and cheap to compute with. */
export interface PriceEntry {
  /** The name or pattern that matched, as the operator or the default book wrote it. */
  readonly pattern: string;
  readonly origin: 'config' | 'default' | 'unpriced' | 'organization';
  readonly free: boolean;
  readonly table: RateTable;
  /** Highest boundary first. `from` is inclusive, whatever the source said. */
  readonly tiers: readonly { readonly from: number; readonly table: RateTable }[];
  readonly stepSeconds: number;
  readonly holdOutput: number;
  readonly maxOutput: number | null;
  readonly bounds: { readonly image: number | null; readonly audio: number | null; readonly file: number | null };
  readonly category: string | null;
  readonly provider: string | null;
  readonly note: string | null;
  readonly words: Words;
}

/** Every meter that has a place of its own in `Usage`, in the order in which a breakdown lists them. */
export const BUILT_IN: readonly string[] = [
  'request',
  'input',
  'audio_input',
  'cache_write_1h',
  'cache_write_5m',
  'cached_input',
  'output',
  'audio_output',
  'reasoning',
  'image',
  'second',
  'character',
];

/** Rates as whole numbers over one denominator, so that a charge is one sum of products and one division. */
export interface RateTable {
  readonly rates: ReadonlyMap<string, TableRate>;
  /** The same by the order of `BUILT_IN`. */
  readonly builtIn: readonly (TableRate | undefined)[];
  readonly denominator: bigint;
  /** The same as a number when it is exact, else 0. */
  readonly safeDenominator: number;
}

export interface TableRate {
  readonly value: Fraction;
  readonly numerator: bigint;
  /** The same as a number when it is exact, else -1. */
  readonly safeNumerator: number;
}

const HOLD_OUTPUT = 4096;
const MICRO = 1_000_000n;
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
/** As one-api and new-api price cache writes that state no price: 1.25 for five minutes, 1.6 times that for an hour. */
const WRITE_5M = fraction(5n, 4n);
const WRITE_1H = fraction(8n, 5n);

export interface CompileOptions {
  readonly pattern: string;
  readonly origin: PriceEntry['origin'];
  readonly base: Fraction;
  /** A multiplier inherited by `like`. */
  readonly times?: Fraction;
  readonly facts?: ModelFacts;
}

/** Throws a RangeError with a sentence when the rule cannot be a price; nothing half-priced leaves this file. */
export function compileRates(rule: RatesRule, options: CompileOptions): PriceEntry {
  const times = options.times ?? ONE;
  const tiers = rule.tiers
    .map((tier) => ({ from: boundaryOf(tier), table: tableOf({ ...rule.rates, ...tier.rates }, options.base, times) }))
    .sort((a, b) => b.from - a.from);
  if (!Number.isSafeInteger(rule.stepSeconds) || rule.stepSeconds < 0) throw new RangeError('the step must be a whole number of seconds');
  return Object.freeze({
    ...factsOf(options.facts ?? rule),
    pattern: options.pattern,
    origin: options.origin,
    words: wordsOf(rule.rates),
    free: false,
    table: tableOf(rule.rates, options.base, times),
    tiers: Object.freeze(tiers),
    stepSeconds: rule.stepSeconds,
  });
}

export function freeEntry(facts: ModelFacts, options: Pick<CompileOptions, 'pattern' | 'origin'>): PriceEntry {
  const table = freeze(new Map());
  return Object.freeze({ ...factsOf(facts), ...options, words: wordsOf({}), free: true, table, tiers: Object.freeze([]), stepSeconds: 0 });
}

/** The rates a request with this much input has: the highest tier it reaches, for all of it. */
export function tableFor(entry: PriceEntry, inputTokens: number): RateTable {
  for (const tier of entry.tiers) if (inputTokens >= tier.from) return tier.table;
  return entry.table;
}

function factsOf(facts: ModelFacts): Pick<PriceEntry, keyof ModelFacts> {
  const { image = null, audio = null, file = null } = facts.bounds ?? {};
  for (const value of [facts.holdOutput, facts.maxOutput, image, audio, file]) {
    if (value !== undefined && value !== null && (!Number.isSafeInteger(value) || value < 0 || value > 1e9)) {
      throw new RangeError(`${value} is not a number of tokens`);
    }
  }
  return {
    holdOutput: facts.holdOutput ?? Math.min(HOLD_OUTPUT, facts.maxOutput ?? HOLD_OUTPUT),
    maxOutput: facts.maxOutput ?? null,
    bounds: Object.freeze({ image, audio, file }),
    category: facts.category ?? null,
    provider: facts.provider ?? null,
    note: facts.note ?? null,
  };
}

function boundaryOf(tier: LongContextTier): number {
  if (!Number.isSafeInteger(tier.tokens) || tier.tokens < 1) throw new RangeError(`${tier.tokens} is not a number of tokens`);
  return tier.boundary === 'gte' ? tier.tokens : tier.tokens + 1;
}

const TOKEN_METERS: readonly Meter[] = [
  'cached_input',
  'cache_write_5m',
  'cache_write_1h',
  'output',
  'reasoning',
  'audio_input',
  'audio_output',
];

function tableOf(rates: Rates, base: Fraction, times: Fraction): RateTable {
  const input = rates.input && rateOf(rates.input, undefined, base);
  const map = new Map<string, Fraction>();
  const put = (meter: string, rate: Fraction | undefined): void => {
    if (rate) map.set(meter, multiply(rate, times));
  };
  put('input', input);
  const own = (meter: Meter): Fraction | undefined => {
    const rate = Object.hasOwn(rates, meter) ? rates[meter] : undefined;
    return rate && rateOf(rate, input, base);
  };
  for (const meter of ['request', 'image', 'second', 'character'] as const) put(meter, own(meter));
  for (const meter of TOKEN_METERS) put(meter, own(meter) ?? inherited(meter, { own, input, byRatio: rates.input?.by === 'ratio' }));
  for (const { meter, rate } of rates.custom ?? []) put(meter, rateOf(rate, input, base));
  if (map.size === 0) throw new RangeError('no price is stated');
  return freeze(map);
}

/** A subset without a rate of its own costs what the whole costs; never nothing. */
function inherited(
  meter: Meter,
  known: { own: (meter: Meter) => Fraction | undefined; input: Fraction | undefined; byRatio: boolean },
): Fraction | undefined {
  const { own, input, byRatio } = known;
  const write5m = own('cache_write_5m');
  switch (meter) {
    case 'reasoning':
    case 'audio_output':
      return own('output') ?? input;
    case 'cache_write_5m':
      return input && byRatio ? multiply(input, WRITE_5M) : input;
    case 'cache_write_1h':
      if (write5m) return multiply(write5m, WRITE_1H);
      return input && byRatio ? multiply(multiply(input, WRITE_5M), WRITE_1H) : input;
    default:
      return input;
  }
}

/** Micro-credits per single unit. A rate of 0 is refused here too: nothing is free by accident. */
function rateOf(rate: Rate, input: Fraction | undefined, base: Fraction): Fraction {
  const amount = parseExact(rate.amount);
  if (!amount || amount.n === 0n) throw new RangeError(`${JSON.stringify(rate.amount)} is not a price above 0`);
  if (rate.by === 'ratio') return multiply(amount, base);
  if (rate.by === 'credits') {
    if (!Number.isSafeInteger(rate.per) || rate.per < 1) throw new RangeError(`${rate.per} is not a number of units`);
    return multiply(amount, fraction(MICRO, BigInt(rate.per)));
  }
  if (!input) throw new RangeError(`"${rate.amount}x" is a multiple of the input price, but there is no input price`);
  return multiply(amount, input);
}

function freeze(rates: ReadonlyMap<string, Fraction>): RateTable {
  let denominator = 1n;
  for (const rate of rates.values()) denominator = lcm(denominator, rate.d);
  const table = new Map<string, TableRate>();
  for (const [meter, value] of rates) {
    const numerator = value.n * (denominator / value.d);
    table.set(meter, Object.freeze({ value, numerator, safeNumerator: numerator <= SAFE ? Number(numerator) : -1 }));
  }
  const builtIn = Object.freeze(BUILT_IN.map((meter) => table.get(meter)));
  return Object.freeze({ rates: table, builtIn, denominator, safeDenominator: denominator <= SAFE ? Number(denominator) : 0 });
}

/** The dearest of these meters' rates, for bounds. */
export function dearest(table: RateTable, meters: readonly string[]): Fraction {
  return meters.reduce((most, meter) => larger(most, table.rates.get(meter)?.value ?? NOTHING), NOTHING);
}
