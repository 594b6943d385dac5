import type { Usage } from '../../src/domain/charge.js';
import type { PriceSource, Rate, Rates, RatesRule } from '../../src/domain/prices.js';
import { buildBook, type PriceBook } from '../../src/pricing/book.js';

export const SOURCE: PriceSource = {
  credits: { base: '200', value: { amount: '0.01', currency: 'USD' } },
  groups: [],
  models: [],
  meters: [],
  unpriced: { kind: 'reject' },
  defaults: false,
  demo: false,
  partBounds: { image: 2500, audio: 4000, file: 20_000 },
};

/** 2026-11-01: the default book depends on the day. */
export const DAY = Date.UTC(2026, 10, 1);

export const bookWith = (source: Partial<PriceSource>): PriceBook => buildBook({ ...SOURCE, ...source }, DAY);

export const credits = (amount: string, per: number): Rate => ({ by: 'credits', amount, per });
export const ratio = (amount: string): Rate => ({ by: 'ratio', amount });
export const x = (amount: string): Rate => ({ by: 'input', amount });
export const rates = (found: Rates): RatesRule => ({ kind: 'rates', rates: found, tiers: [], stepSeconds: 0 });

export const NOTHING_USED: Usage = {
  input: 0,
  cached_input: 0,
  cache_write_5m: 0,
  cache_write_1h: 0,
  output: 0,
  reasoning: 0,
  audio_input: 0,
  audio_output: 0,
  images: 0,
  seconds: 0,
  characters: 0,
};

export const usage = (some: Partial<Usage>): Usage => ({ ...NOTHING_USED, ...some });
