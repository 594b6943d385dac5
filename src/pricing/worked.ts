import type { Usage } from '../domain/charge.js';
import type { MicroCredits } from '../domain/credits.js';
import type { ListedModel, PriceBook } from './book.js';
import { charge } from './charge.js';
import type { PriceEntry } from './entry.js';
import { ONE } from './fraction.js';

/** What typical requests cost, for people who check a price list before it goes live. */
export interface WorkedExample {
  readonly model: string;
  readonly origin: PriceEntry['origin'];
  readonly free: boolean;
  /** Micro-credits per unit, exact, by meter: what the book stores. */
  readonly rates: readonly { readonly meter: string; readonly rate: string }[];
  /** 1,000 tokens in and 1,000 out, one image, one minute, 1,000 characters: whatever of it has a price. */
  readonly typical: MicroCredits;
  /** The same with 800 of the 1,000 input tokens read from a cache. */
  readonly cached: MicroCredits;
  /** From each long-context boundary on: 1,000 tokens of input and of output, at the rates of that tier. */
  readonly tiers: readonly { readonly from: number; readonly input: string; readonly output: string }[];
}

export function workedExamples(book: PriceBook): readonly WorkedExample[] {
  return book.models().map((listed) => workedExample(listed));
}

export interface PriceChange {
  readonly model: string;
  readonly kind: 'added' | 'removed' | 'changed';
  readonly before: WorkedExample | null;
  readonly after: WorkedExample | null;
}

/** What a new book would change, model by model. Groups and meters are compared by their names. */
export function differences(before: PriceBook, after: PriceBook): readonly PriceChange[] {
  if (before.version === after.version) return [];
  const old = new Map(before.models().map((listed) => [listed.name, listed]));
  const next = new Map(after.models().map((listed) => [listed.name, listed]));
  const names = [...new Set([...old.keys(), ...next.keys()])].sort();
  return names.flatMap((model) => changeOf(model, old.get(model), next.get(model)) ?? []);
}

function changeOf(model: string, old: ListedModel | undefined, next: ListedModel | undefined): PriceChange | undefined {
  const before = old ? workedExample(old) : null;
  const after = next ? workedExample(next) : null;
  if (before && after)
    return JSON.stringify(priceOf(before)) === JSON.stringify(priceOf(after)) ? undefined : { model, kind: 'changed', before, after };
  return { model, kind: before ? 'removed' : 'added', before, after };
}

const priceOf = ({ free, rates, tiers }: WorkedExample): unknown => [free, rates, tiers];

function workedExample({ name, entry }: ListedModel): WorkedExample {
  return {
    model: name,
    origin: entry.origin,
    free: entry.free,
    rates: [...entry.table.rates].map(([meter, { value }]) => ({ meter, rate: value.text })),
    typical: charge({ entry, usage: TYPICAL, times: ONE }).cost,
    cached: charge({ entry, usage: { ...TYPICAL, cached_input: 800 }, times: ONE }).cost,
    tiers: entry.tiers.map(({ from, table }) => ({
      from,
      input: table.rates.get('input')?.value.text ?? '0',
      output: table.rates.get('output')?.value.text ?? '0',
    })),
  };
}

const TYPICAL: Usage = {
  input: 1000,
  cached_input: 0,
  cache_write_5m: 0,
  cache_write_1h: 0,
  output: 1000,
  reasoning: 0,
  audio_input: 0,
  audio_output: 0,
  images: 1,
  seconds: 60,
  characters: 1000,
};
