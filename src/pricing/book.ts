import { createHash } from 'node:crypto';
import { isMeter, type ModelFacts, type ModelPrice, type PartBounds, type PriceRule, type PriceSource } from '../domain/prices.js';
import { canonicalJson } from './canonical.js';
import { defaultModels } from './defaults.js';
import { compileRates, freeEntry, type PriceEntry } from './entry.js';
import { type Fraction, fraction, multiply, ONE, parseExact } from './fraction.js';

/** All prices of one version. Immutable once built; a request keeps the book it was admitted under. */
export interface PriceBook {
  /** `pv_` + 16 hex digits of the SHA-256 of `canonical`. */
  readonly version: string;
  /** Everything that decides a price, as canonical JSON; two books with the same text charge the same. */
  readonly canonical: string;
  readonly partBounds: PartBounds;
  /** The price of a model, or undefined: no price, no request. Any text is safe to ask for. */
  find(model: string): PriceEntry | undefined;
  /** True when the operator's own rules refuse this very name, which another name of the same model must not undo. */
  rejects(model: string): boolean;
  models(): readonly ListedModel[];
  /** The multiplier of a group; undefined for a group nobody defined. */
  group(name: string): Fraction | undefined;
  meter(name: string): MeterEntry | undefined;
  meters(): readonly MeterEntry[];
  /** Compiles a rule against this book (`like` and ratios mean what they mean here). Throws a RangeError with a sentence. */
  compile(rule: PriceRule, pattern: string): PriceEntry | undefined;
}

export interface ListedModel {
  readonly name: string;
  /** Ends in `*`: it prices more than one name. */
  readonly wildcard: boolean;
  readonly entry: PriceEntry;
}

export interface MeterEntry {
  readonly name: string;
  readonly label: string;
  readonly unit: string;
  readonly critical: boolean;
  /** Units (seconds, for what is sold by time) of each month that cost nothing. */
  readonly allowance: number | null;
  /** So many units (seconds, for what is sold by time) have the stated price. */
  readonly per: number;
  readonly category: string | null;
  readonly note: string | null;
  readonly entry: PriceEntry;
}

/** Throws a RangeError naming the model when a rule cannot be priced; config has said it with line and column before. */
export function buildBook(source: PriceSource, nowMs: number = Date.now()): PriceBook {
  const base = exact(source.credits.base, 'credits.base');
  const defaults = defaultLayer(defaultModels(source, nowMs), base);
  const rules: Layers = { own: layer(source.models, () => true), defaults: defaults.rules, unpriced: source.unpriced };
  const compile = (rule: PriceRule, pattern: string, origin: PriceEntry['origin'] = 'organization'): PriceEntry | undefined =>
    compileRule({ rule, pattern, origin, base, rules });
  const compiled = {
    own: compileLayer(rules.own, (rule, pattern) => compile(rule, pattern, 'config')),
    defaults: defaults.compiled,
    unpriced: compile(source.unpriced, '*', 'unpriced'),
  };
  const groups = new Map([['default', ONE], ...source.groups.map(({ name, times }) => [name, exact(times, `group ${name}`)] as const)]);
  const meters = new Map(source.meters.map((meter) => [meter.name, meterOf(meter, base)]));
  const canonical = `{"default_models":${defaults.canonical},"source":${canonicalJson({ ...source, models: sorted(source.models) })}}`;
  return Object.freeze({
    version: `pv_${createHash('sha256').update(canonical).digest('hex').slice(0, 16)}`,
    canonical,
    partBounds: source.partBounds,
    find: finder(compiled),
    rejects: (model: string) => {
      const own = match(compiled.own, model);
      return own !== undefined && own.value === undefined;
    },
    models: () => listed(compiled),
    group: (name: string) => groups.get(name),
    meter: (name: string) => meters.get(name),
    meters: () => [...meters.values()],
    compile: (rule: PriceRule, pattern: string) => compile(rule, pattern),
  });
}

interface DefaultLayer {
  readonly rules: Layer<PriceRule>;
  readonly compiled: Layer<PriceEntry | undefined>;
  readonly canonical: string;
}

/** `defaultModels` gives the same list as long as nothing that decides it changes, the base included. */
const defaultLayers = new WeakMap<readonly ModelPrice[], DefaultLayer>();

function defaultLayer(models: readonly ModelPrice[], base: Fraction): DefaultLayer {
  let known = defaultLayers.get(models);
  if (!known) {
    const rules = layer(models, isDated);
    const within: Layers = { own: layer([], isDated), defaults: rules, unpriced: { kind: 'reject' } };
    const compiled = compileLayer(rules, (rule, pattern) => compileRule({ rule, pattern, origin: 'default', base, rules: within }));
    known = { rules, compiled, canonical: canonicalJson(sorted(models)) };
    defaultLayers.set(models, known);
  }
  return known;
}

/** Exact names, and patterns with the longest literal text first. */
interface Layer<T> {
  readonly exact: ReadonlyMap<string, T>;
  readonly wild: readonly { readonly prefix: string; readonly value: T }[];
  /** Whether a pattern may match a name that goes on like this. */
  readonly accepts: (rest: string, prefix: string) => boolean;
}

interface Layers {
  readonly own: Layer<PriceRule>;
  readonly defaults: Layer<PriceRule>;
  readonly unpriced: PriceRule;
}

/** undefined inside means: this name is rejected, do not look further. */
interface Compiled {
  readonly own: Layer<PriceEntry | undefined>;
  readonly defaults: Layer<PriceEntry | undefined>;
  readonly unpriced: PriceEntry | undefined;
}

function layer(models: readonly ModelPrice[], accepts: Layer<PriceRule>['accepts']): Layer<PriceRule> {
  const wild = models.filter(({ pattern }) => pattern.endsWith('*'));
  return {
    exact: new Map(models.filter(({ pattern }) => !pattern.endsWith('*')).map(({ pattern, rule }) => [pattern, rule])),
    wild: wild
      .map(({ pattern, rule }) => ({ prefix: pattern.slice(0, -1), value: rule }))
      .sort((a, b) => b.prefix.length - a.prefix.length),
    accepts,
  };
}

/** A pattern of the default book covers dated versions of its model, never the next model that starts alike. */
export function isDated(rest: string, prefix: string): boolean {
  return prefix.startsWith('ft:') || /^(?:[-@:](?:latest|preview|exp|\d{2,8}|v\d{1,2}))*$/.test(rest);
}

function compileLayer(from: Layer<PriceRule>, compile: (rule: PriceRule, pattern: string) => PriceEntry | undefined): Compiled['own'] {
  const exact = new Map([...from.exact].map(([name, rule]) => [name, compile(rule, name)]));
  return { exact, wild: from.wild.map(({ prefix, value }) => ({ prefix, value: compile(value, `${prefix}*`) })), accepts: from.accepts };
}

const NAME_LENGTH_MAX = 256;
const MEMO_MAX = 2048;

function finder(compiled: Compiled): PriceBook['find'] {
  const memo = new Map<string, PriceEntry | undefined>();
  return (model) => {
    const known = compiled.own.exact.get(model);
    if (known) return known;
    if (memo.has(model)) return memo.get(model);
    if (typeof model !== 'string' || model.length === 0 || model.length > NAME_LENGTH_MAX) return undefined;
    const found = match(compiled.own, model) ?? match(compiled.defaults, model) ?? { value: compiled.unpriced };
    if (memo.size >= MEMO_MAX)
      for (const oldest of memo.keys()) {
        memo.delete(oldest);
        break;
      }
    memo.set(model, found.value);
    return found.value;
  };
}

function match<T>(within: Layer<T>, model: string): { readonly value: T } | undefined {
  const value = within.exact.get(model);
  if (value !== undefined || within.exact.has(model)) return { value: value as T };
  return within.wild.find(({ prefix }) => model.startsWith(prefix) && within.accepts(model.slice(prefix.length), prefix));
}

const LIKE_DEPTH_MAX = 8;

function compileRule(of: {
  rule: PriceRule;
  pattern: string;
  origin: PriceEntry['origin'];
  base: Fraction;
  rules: Layers;
}): PriceEntry | undefined {
  const { pattern, origin, base, rules } = of;
  let { rule } = of;
  let times = ONE;
  const facts: ModelFacts[] = [];
  try {
    for (let depth = 0; depth < LIKE_DEPTH_MAX; depth++) {
      if (rule.kind === 'reject') return undefined;
      facts.push(rule);
      if (rule.kind === 'free') return freeEntry(merged(facts), { pattern, origin });
      if (rule.kind === 'rates') return compileRates(rule, { pattern, origin, base, times, facts: merged(facts) });
      times = multiply(times, positive(rule.times));
      const target: string = rule.model;
      const next: { readonly value: PriceRule } | undefined = match(rules.own, target) ?? match(rules.defaults, target);
      if (!next) throw new RangeError(`it is priced like "${target}", which has no price`);
      rule = next.value;
    }
    throw new RangeError('`like` goes round in a circle');
  } catch (problem) {
    throw new RangeError(`the price of "${pattern}" cannot be used: ${(problem as Error).message}`);
  }
}

/** What the nearer rule states wins; bounds part by part. */
function merged(facts: readonly ModelFacts[]): ModelFacts {
  const [nearest = {}, ...further] = facts;
  const rest = further.length > 0 ? merged(further) : {};
  const stated = Object.fromEntries(FACTS.flatMap((name) => (nearest[name] === undefined ? [] : [[name, nearest[name]]])));
  return { ...rest, ...stated, bounds: { ...rest.bounds, ...nearest.bounds } };
}

const FACTS = ['holdOutput', 'maxOutput', 'category', 'provider', 'note'] as const satisfies readonly (keyof ModelFacts)[];

function meterOf(meter: PriceSource['meters'][number], base: Fraction): MeterEntry {
  const { name, label, unit, critical, amount, per, stepSeconds, allowance = null, category = null, note = null } = meter;
  // What a request reports under such a name is counted by other rules, so its price would never be found.
  if (stepSeconds === 0 && isMeter(name))
    throw new RangeError(`the meter "${name}" has the name of something that requests are measured by`);
  if (allowance !== null && !(Number.isSafeInteger(allowance) && allowance > 0))
    throw new RangeError(`the allowance of the meter "${name}" must be a whole number above 0`);
  const options = { pattern: name, origin: 'config', base } as const;
  const rate = { by: 'credits', amount, per } as const;
  const rates = stepSeconds > 0 ? { second: rate } : { custom: [{ meter: name, rate }] };
  const entry = meter.free ? freeEntry({}, options) : compileRates({ kind: 'rates', rates, tiers: [], stepSeconds }, options);
  return Object.freeze({ name, label, unit, critical, allowance, per, category, note, entry });
}

function listed(compiled: Compiled): ListedModel[] {
  const all = new Map<string, ListedModel>();
  const hidden = new Set<string>();
  for (const { exact, wild } of [compiled.own, compiled.defaults]) {
    for (const [name, entry] of [...exact, ...wild.map(({ prefix, value }) => [`${prefix}*`, value] as const)]) {
      if (!entry) hidden.add(name);
      else if (!all.has(name) && !hidden.has(name)) all.set(name, { name, wildcard: name.endsWith('*'), entry });
    }
  }
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

const sorted = (models: readonly ModelPrice[]): ModelPrice[] => [...models].sort((a, b) => (a.pattern < b.pattern ? -1 : 1));

function exact(text: string, where: string): Fraction {
  const value = parseExact(text);
  if (!value || value.n === 0n) throw new RangeError(`${where}: ${JSON.stringify(text)} is not a number above 0`);
  return fraction(value.n, value.d);
}

const positive = (text: string): Fraction => exact(text, 'times');
