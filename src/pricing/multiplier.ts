import type { PriceRule } from '../domain/prices.js';
import type { PriceBook } from './book.js';
import type { PriceEntry } from './entry.js';
import { type Fraction, fromFloat, multiply, parseExact } from './fraction.js';
import { isPriceRule } from './rule.js';

export type Priced =
  | { readonly kind: 'priced'; readonly entry: PriceEntry; readonly times: Fraction }
  | { readonly kind: 'refused'; readonly code: 'model_not_priced'; readonly message: string; readonly param: 'model' };

/**
 * What a model costs this organization: the entry, and group × the organization's own multiplier as an exact fraction.
 * An organization's own price replaces the entry; its group still multiplies it. Content that cannot be read refuses
 * the model, because a price we do not know is not a price of 0.
 */
export function timesFor(what: {
  readonly book: PriceBook;
  readonly group: string;
  readonly prices: Readonly<Record<string, unknown>> | null;
  readonly model: string;
}): Priced {
  const { book, model } = what;
  const group = book.group(what.group);
  if (!group) return refused(`The price group "${short(what.group)}" of this organization is not defined.`);
  const own = what.prices ? overrideFor(what.prices, model) : undefined;
  if (own === 'unreadable') return refused(`The organization's own price for "${short(model)}" cannot be read.`);
  if (own && 'rule' in own) {
    const entry = compiledOnce(book, own.rule, own.pattern);
    return entry ? { kind: 'priced', entry, times: group } : refused(`The model "${short(model)}" has no price here.`);
  }
  const entry = book.find(model);
  if (!entry) return refused(`The model "${short(model)}" has no price here.`);
  return { kind: 'priced', entry, times: own ? multiply(group, own.times) : group };
}

type Override = { readonly times: Fraction } | { readonly rule: PriceRule; readonly pattern: string } | 'unreadable';

/** True for what `timesFor` accepts as one override; whoever stores overrides asks this first. */
export const isOverride = (value: unknown): boolean => readOverride(value, '') !== 'unreadable';

const read = new WeakMap<object, ReadonlyMap<string, Override>>();

/** Exact name first, then the longest pattern. Read once per terms object; `Map`, because the names come from outside. */
function overrideFor(prices: Readonly<Record<string, unknown>>, model: string): Override | undefined {
  let map = read.get(prices);
  if (!map) {
    map = new Map(Object.entries(prices).map(([pattern, value]) => [pattern, readOverride(value, pattern)]));
    read.set(prices, map);
  }
  const exact = map.get(model);
  if (exact) return exact;
  let best: { readonly length: number; readonly value: Override } | undefined;
  for (const [pattern, value] of map) {
    if (!pattern.endsWith('*') || !model.startsWith(pattern.slice(0, -1))) continue;
    if (!best || pattern.length > best.length) best = { length: pattern.length, value };
  }
  return best?.value;
}

function readOverride(value: unknown, pattern: string): Override {
  if (typeof value === 'string' || typeof value === 'number') {
    const times = typeof value === 'number' ? fromFloat(value) : parseExact(value);
    return times && times.n > 0n ? { times } : 'unreadable';
  }
  return isPriceRule(value) ? { rule: value, pattern } : 'unreadable';
}

const compiled = new WeakMap<PriceBook, WeakMap<PriceRule, PriceEntry | null>>();

function compiledOnce(book: PriceBook, rule: PriceRule, pattern: string): PriceEntry | undefined {
  const known = compiled.get(book) ?? new WeakMap<PriceRule, PriceEntry | null>();
  compiled.set(book, known);
  let entry = known.get(rule);
  if (entry === undefined) {
    entry = attempt(book, rule, pattern) ?? null;
    known.set(rule, entry);
  }
  return entry ?? undefined;
}

function attempt(book: PriceBook, rule: PriceRule, pattern: string): PriceEntry | undefined {
  try {
    return book.compile(rule, pattern);
  } catch {
    return undefined;
  }
}

const refused = (message: string): Priced => ({ kind: 'refused', code: 'model_not_priced', message, param: 'model' });

const short = (text: string): string => (text.length > 64 ? `${text.slice(0, 64)}…` : text);
