import { findProvider, type ModelPrice as ListPrice, type ModelInfo } from '@pydantic/genai-prices';
import type { LongContextTier, Meter, ModelPrice, PriceSource, Rate, Rates, RatesRule } from '../domain/prices.js';
import { type Fraction, fraction, fromFloat, larger, multiply, NOTHING, parseExact } from './fraction.js';

/**
 * Prices for well-known models: list prices in dollars, turned into credits at the operator's credit value. Only rates
 * are taken, each as the exact decimal its float prints as. A model with anything we cannot price stays out, and is
 * refused like any unknown model.
 */
export function defaultModels(source: Pick<PriceSource, 'credits' | 'defaults' | 'demo'>, nowMs: number): readonly ModelPrice[] {
  const creditsPerDollar = creditsPerDollarOf(source.credits);
  const key = [source.credits.base, creditsPerDollar.text, source.defaults, source.demo, Math.floor(nowMs / DAY_MS)].join(' ');
  if (last?.key !== key) last = { key, models: modelsAt(source, creditsPerDollar, nowMs) };
  return last.models;
}

const DAY_MS = 86_400_000;

/** The same list for the same day and credits, so that a reload does not work through a thousand models again. */
let last: { readonly key: string; readonly models: readonly ModelPrice[] } | undefined;

function modelsAt(source: Pick<PriceSource, 'defaults' | 'demo'>, creditsPerDollar: Fraction, nowMs: number): readonly ModelPrice[] {
  const models = new Map<string, RatesRule>();
  if (source.demo) models.set('demo', DEMO);
  for (const { provider, patterns, price } of source.defaults ? listPrices(nowMs) : []) {
    const rule = price && ruleOf(price, creditsPerDollar);
    if (rule) for (const pattern of patterns) if (!models.has(pattern)) models.set(pattern, { ...rule, provider });
  }
  return [...models].map(([pattern, rule]) => ({ pattern, rule }));
}

/** The built-in model costs what the smallest real ones do, so that a first try shows real numbers. */
const DEMO: RatesRule = {
  kind: 'rates',
  rates: { input: { by: 'ratio', amount: '0.075' }, output: { by: 'input', amount: '4' } },
  tiers: [],
  stepSeconds: 0,
};

/** Where two providers use one name, the first in this list names the price. */
export const PROVIDERS = [
  'openai',
  'anthropic',
  'google',
  'deepseek',
  'x-ai',
  'mistral',
  'groq',
  'moonshotai',
  'zai',
  'cohere',
  'minimax',
  'cerebras',
];

/** One credit in dollars decides; without a value in dollars, ratio 1 = $2 per 1M = `credits.base` credits per 1M. */
function creditsPerDollarOf(credits: PriceSource['credits']): Fraction {
  const value = credits.value?.currency === 'USD' ? parseExact(credits.value.amount) : undefined;
  if (value && value.n > 0n) return fraction(value.d, value.n);
  const base = parseExact(credits.base) ?? NOTHING;
  return fraction(base.n, base.d * 2n);
}

interface Listed {
  readonly provider: string;
  readonly patterns: readonly string[];
  readonly price: ListPrice | undefined;
}

function* listPrices(nowMs: number): Generator<Listed> {
  for (const providerId of PROVIDERS) {
    for (const model of findProvider({ providerId })?.models ?? []) {
      yield { provider: providerId, patterns: patternsOf(model), price: priceAt(model.prices, nowMs) };
    }
  }
}

type MatchLogic = ModelInfo['match'];

/**
 * `equals` and `starts_with` become names and patterns; such a pattern only covers dated versions (see `book.ts`), so
 * that tomorrow's model is not sold at today's price because its name starts alike. Other ways of matching are dropped.
 */
export function patternsOf(model: ModelInfo): string[] {
  const found = [model.id];
  const visit = (match: MatchLogic): void => {
    if ('or' in match) for (const item of match.or) visit(item);
    if ('equals' in match) found.push(match.equals);
    if ('starts_with' in match) found.push(`${match.starts_with.replace(/[-@:]$/, '')}*`);
  };
  visit(model.match);
  return found.filter((pattern) => /^[\w.:@/-]{2,128}\*?$/.test(pattern));
}

/** The price in force by date. Of prices by time of day the dearest is taken: a default never sells below cost. */
function priceAt(prices: ModelInfo['prices'], nowMs: number): ListPrice | undefined {
  if (!Array.isArray(prices)) return prices;
  let latest: { readonly sinceMs: number; readonly price: ListPrice } | undefined;
  const hourly: ListPrice[] = [];
  for (const { constraint, prices: price } of prices) {
    if (constraint?.type === 'time_of_date') hourly.push(price);
    else {
      const sinceMs = constraint ? Date.parse(constraint.start_date) : Number.NEGATIVE_INFINITY;
      if (sinceMs <= nowMs && (!latest || sinceMs >= latest.sinceMs)) latest = { sinceMs, price };
    }
  }
  return hourly.reduce((most, price) => (most && inputOf(most) >= inputOf(price) ? most : price), latest?.price);
}

const inputOf = (price: ListPrice): number => {
  const input = price['input_mtok'];
  return typeof input === 'number' ? input : (input?.base ?? 0);
};

/** Which list prices make which meter; several for one meter: the dearest, because the wire does not tell them apart. */
const SOURCES: ReadonlyMap<string, { readonly meter: Meter | 'web_search' | 'file_search'; readonly per: number }> = new Map([
  ['input_mtok', { meter: 'input', per: 1e6 }],
  ['input_image_mtok', { meter: 'input', per: 1e6 }],
  ['input_video_mtok', { meter: 'input', per: 1e6 }],
  ['cache_read_mtok', { meter: 'cached_input', per: 1e6 }],
  ['cache_image_read_mtok', { meter: 'cached_input', per: 1e6 }],
  ['cache_write_mtok', { meter: 'cache_write_5m', per: 1e6 }],
  ['cache_write_1h_mtok', { meter: 'cache_write_1h', per: 1e6 }],
  ['output_mtok', { meter: 'output', per: 1e6 }],
  ['output_image_mtok', { meter: 'output', per: 1e6 }],
  ['output_video_mtok', { meter: 'output', per: 1e6 }],
  ['output_reasoning_mtok', { meter: 'reasoning', per: 1e6 }],
  ['input_audio_mtok', { meter: 'audio_input', per: 1e6 }],
  ['output_audio_mtok', { meter: 'audio_output', per: 1e6 }],
  ['requests_kcount', { meter: 'request', per: 1000 }],
  ['audio_hours', { meter: 'second', per: 3600 }],
  ['input_audio_hours', { meter: 'second', per: 3600 }],
  ['web_searches_kcount', { meter: 'web_search', per: 1000 }],
  ['storage_searches_kcount', { meter: 'file_search', per: 1000 }],
]);

/** Audio read from a cache is charged as audio, which is never less. */
const COVERED: ReadonlySet<string> = new Set(['cache_audio_read_mtok']);

function ruleOf(price: ListPrice, creditsPerDollar: Fraction): RatesRule | undefined {
  const base = new Map<string, Rated>();
  const tiers = new Map<number, Map<string, Rated>>();
  for (const [key, value] of Object.entries(price)) {
    if (value === undefined || value === 0 || COVERED.has(key)) continue;
    const source = SOURCES.get(key);
    if (!source) return undefined;
    const isTiered = typeof value === 'object';
    if (!put(base, source, isTiered ? value.base : value, creditsPerDollar)) return undefined;
    for (const tier of isTiered ? value.tiers : []) {
      const rates = tiers.get(tier.start) ?? new Map<string, Rated>();
      tiers.set(tier.start, rates);
      if (!put(rates, source, tier.price, creditsPerDollar)) return undefined;
    }
  }
  if (!base.has('input') && !base.has('request') && !base.has('second')) return undefined;
  return {
    kind: 'rates',
    rates: ratesOf(base),
    tiers: [...tiers].map(([start, rates]) => tierOf(start, rates)),
    stepSeconds: base.has('second') ? 1 : 0,
  };
}

interface Rated {
  readonly amount: Fraction;
  readonly per: number;
}

function put(
  into: Map<string, Rated>,
  source: { readonly meter: string; readonly per: number },
  dollars: number,
  creditsPerDollar: Fraction,
): boolean {
  const price = fromFloat(dollars);
  if (!price || price.n === 0n) return false;
  const amount = multiply(price, creditsPerDollar);
  into.set(source.meter, { amount: larger(amount, into.get(source.meter)?.amount ?? NOTHING), per: source.per });
  return true;
}

/** The list says "more than start"; 271,999 is its way to say "from 272,000 on", which is how we write it. */
function tierOf(start: number, rates: ReadonlyMap<string, Rated>): LongContextTier {
  const inclusive = start % 1000 === 999;
  return { tokens: inclusive ? start + 1 : start, boundary: inclusive ? 'gte' : 'gt', rates: ratesOf(rates) };
}

function ratesOf(from: ReadonlyMap<string, Rated>): Rates {
  const rates: Partial<Record<Meter, Rate>> = {};
  const custom: { meter: string; rate: Rate }[] = [];
  for (const [meter, { amount, per }] of from) {
    const rate: Rate = { by: 'credits', amount: amount.text, per };
    if (meter === 'web_search' || meter === 'file_search') custom.push({ meter, rate });
    else rates[meter as Meter] = rate;
  }
  return custom.length > 0 ? { ...rates, custom } : rates;
}
