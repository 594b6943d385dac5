import { NO_USAGE, type Usage } from '../../src/domain/charge.js';
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

export const usage = (some: Partial<Usage>): Usage => ({ ...NO_USAGE, ...some });
