import { z } from '@hono/zod-openapi';
import type { Org } from '../accounts/org.js';
import { matches, overlaps } from '../domain/patterns.js';
import type { ListedModel, MeterEntry, PriceBook } from '../pricing/book.js';
import type { PriceEntry, RateTable } from '../pricing/entry.js';
import { type Fraction, multiply, ONE } from '../pricing/fraction.js';
import { timesFor } from '../pricing/multiplier.js';
import { type AllowanceOut, AllowanceSchema } from './allowances.js';
import type { ApiDeps } from './deps.js';
import { METER_CATEGORY, type Unit, UnitPriceSchema, unitOf, unitOfMeter, unitPrice } from './priceWords.js';

const PricesSchema = z.array(z.strictObject({ meter: z.string(), price: UnitPriceSchema }));

const MODALITIES = ['text', 'image', 'audio'] as const;

const ListedSchema = z.strictObject({
  /** A model's name, or a pattern ending in `*`; for `kind: "meter"` the name of an action. */
  name: z.string(),
  label: z.string().nullable(),
  kind: z.enum(['model', 'meter']),
  pattern: z.boolean(),
  free: z.boolean(),
  prices: PricesSchema,
  /** From this many input tokens on the whole request has these prices. */
  tiers: z.array(z.strictObject({ from_input_tokens: z.int(), prices: PricesSchema })),
  /** Seconds are rounded up to a multiple of this; 0 or 1 = as they are. */
  step_seconds: z.int(),
  category: z.string(),
  /** Whose model it is, as far as that is known. */
  provider: z.string().nullable(),
  modalities: z.array(z.enum(MODALITIES)),
  note: z.string().nullable(),
});

/** What an organization pays. */
export const EntrySchema = ListedSchema.extend({
  origin: z.enum(['config', 'default', 'unpriced', 'organization']),
  /** Of a meter: what of each month costs nothing, and how much of it is left. */
  allowance: AllowanceSchema.nullable(),
});

/** What anybody pays who has no prices of their own. */
export const PublicEntrySchema = ListedSchema.extend({
  /** Units of each month (seconds, for what is sold by time) that cost nothing. */
  allowance: z.int().nullable(),
});

export type EntryOut = z.input<typeof EntrySchema>;
type Listed = z.input<typeof ListedSchema>;

/** Words that an entry can be looked for by; the same everywhere prices are listed. */
export const Filters = z.strictObject({
  q: z.string().trim().max(256).optional(),
  kind: z.enum(['model', 'meter']).optional(),
  category: z.string().max(60).optional(),
  provider: z.string().max(60).optional(),
  modality: z.enum(MODALITIES).optional(),
});

/** Every word of the search is part of a name, heading, provider or note. */
export function filtered<One extends Listed>(entries: readonly One[], query: z.output<typeof Filters>): One[] {
  const words = (query.q ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((one) => {
    const text = [one.name, one.label, one.category, one.provider, one.note].join(' ').toLowerCase();
    return (
      words.every((word) => text.includes(word)) &&
      (query.kind === undefined || query.kind === one.kind) &&
      (query.category === undefined || query.category === one.category) &&
      (query.provider === undefined || query.provider === one.provider) &&
      (query.modality === undefined || one.modalities.includes(query.modality))
    );
  });
}

export const FacetsSchema = z.strictObject({ categories: z.array(z.string()), providers: z.array(z.string()) });

/** What there is to filter by, in the whole list. */
export const facetsOf = (entries: readonly Listed[]): z.input<typeof FacetsSchema> => ({
  categories: [...new Set(entries.map(({ category }) => category))].sort(),
  providers: [...new Set(entries.flatMap(({ provider }) => provider ?? []))].sort(),
});

/** Every price of an organization: its group and its own prices are in them. */
export function entriesOf(deps: ApiDeps, org: Org, allowances: readonly AllowanceOut[]): EntryOut[] {
  const book = deps.prices();
  const left = new Map(allowances.map((one) => [one.meter, one]));
  const times = book.group(org.price_group);
  const meters = times ? book.meters().map((one) => ({ ...meterOut(deps, one, times), origin: one.entry.origin })) : [];
  return [
    ...book.models().flatMap((one) => modelOut(deps, book, org, one)),
    ...meters.map((one) => ({ ...one, allowance: left.get(one.name) ?? null })),
  ];
}

/** What an upstream serves: a name or a pattern, and what it calls that model itself. */
export interface Served {
  readonly pattern: string;
  readonly as: string | null;
}

/** Every model that somebody serves and that has a price for this organization, by the name that clients ask for. */
export function servedEntriesOf(deps: ApiDeps, org: Org, served: readonly Served[]): EntryOut[] {
  const book = deps.prices();
  const listed = book.models().map(({ name }) => name);
  const names = new Set([...served.map(({ pattern }) => pattern), ...listed].filter((name) => !name.includes('*')));
  return [...names].flatMap((name) => {
    for (const { as } of served.filter(({ pattern }) => matches(pattern, name))) {
      const entry = pricedEntry(deps, book, org, { name, as });
      if (entry) return [entry];
    }
    return [];
  });
}

/** As a request is priced: by the name asked for; by the upstream's own, when nobody said anything about that one. */
function pricedEntry(deps: ApiDeps, book: PriceBook, org: Org, { name, as }: { name: string; as: string | null }): EntryOut | undefined {
  const pricedAs = (model: string) => {
    const priced = timesFor({ book, group: org.price_group, prices: org.prices, model });
    if (priced.kind === 'refused') return undefined;
    const [out] = modelOut(deps, book, org, { name: model, wildcard: false, entry: book.find(model) ?? priced.entry });
    return out && { ...out, name };
  };
  const own = pricedAs(name);
  if (own || as === null || book.rejects(name) || (org.prices && Object.hasOwn(org.prices, name))) return own;
  return pricedAs(as);
}

type PublicOut = z.input<typeof PublicEntrySchema>;

/** Anybody may ask, so it is worked out once for each book. */
const publicLists = new WeakMap<PriceBook, readonly PublicOut[]>();

/** The list of nobody in particular: what the group `default` pays. */
export function publicEntriesOf(deps: ApiDeps): readonly PublicOut[] {
  const book = deps.prices();
  const known = publicLists.get(book);
  if (known) return known;
  const times = book.group('default') ?? ONE;
  const made = [
    ...book.models().map((one) => ({ ...listedOut(deps, one, one.entry, times), allowance: null })),
    ...book.meters().map((one) => ({ ...meterOut(deps, one, times), allowance: one.allowance })),
  ];
  publicLists.set(book, made);
  return made;
}

function modelOut(deps: ApiDeps, book: PriceBook, org: Org, listed: ListedModel): EntryOut[] {
  const { name, wildcard, entry } = listed;
  const priced = timesFor({ book, group: org.price_group, prices: org.prices, model: name });
  // A pattern is not always a name that it matches itself; its own entry is then what it stands for.
  if (priced.kind === 'refused' && !wildcard) return [];
  const times = priced.kind === 'priced' ? priced.times : book.group(org.price_group);
  if (!times) return [];
  const own = priced.kind === 'priced' ? priced.entry : entry;
  return [{ ...listedOut(deps, listed, own, times), origin: own.origin, allowance: null }];
}

/** The words are those of the list, also where an organization has a price of its own. */
const listedOut = (deps: ApiDeps, { name, wildcard, entry }: ListedModel, own: PriceEntry, times: Fraction): Listed => ({
  ...{ name, label: null, kind: 'model', pattern: wildcard },
  ...priceOut(deps, own, times, unitOf),
  category: entry.category ?? entry.words.heading,
  provider: entry.provider,
  modalities: [...entry.words.modalities],
  note: entry.note,
});

const meterOut = (deps: ApiDeps, meter: MeterEntry, times: Fraction): Listed => ({
  ...{ name: meter.name, label: meter.label, kind: 'meter', pattern: false },
  ...priceOut(deps, meter.entry, times, () => unitOfMeter(meter)),
  ...{ category: meter.category ?? METER_CATEGORY, provider: null, modalities: [], note: meter.note },
});

function priceOut(deps: ApiDeps, entry: PriceEntry, times: Fraction, unit: (meter: string) => Unit) {
  const pricesOf = (table: RateTable) =>
    [...table.rates].map(([meter, { value }]) => ({ meter, price: unitPrice(deps, multiply(value, times), unit(meter)) }));
  return {
    free: entry.free,
    prices: pricesOf(entry.table),
    tiers: [...entry.tiers].reverse().map(({ from, table }) => ({ from_input_tokens: from, prices: pricesOf(table) })),
    step_seconds: entry.stepSeconds,
  };
}

/** Whether some token may use it; null stands for a token that may use every model. */
export const isUsable = ({ kind, name }: Pick<Listed, 'kind' | 'name'>, allowed: readonly (readonly string[] | null)[]): boolean =>
  kind === 'meter' || allowed.some((models) => models === null || models.some((pattern) => overlaps(pattern, name)));
