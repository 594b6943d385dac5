import type { CreditValue } from '../domain/credits.js';
import {
  isMeter,
  type MeterPrice,
  type ModelFacts,
  type ModelPrice,
  type PartBounds,
  type PriceRule,
  type PriceSource,
} from '../domain/prices.js';
import type { Cursor } from './cursor.js';
import { meant } from './finding.js';
import { readRatesRule } from './rates.js';
import { or, readBoolean, readExact, readText, readWhole } from './scalars.js';
import { FACTS, type FactCursors, PER_ALLOWED, readPer, readStep, SECONDS } from './units.js';
import { PATTERN } from './upstreams.js';

export interface PriceCursors {
  readonly base: Cursor;
  readonly groups: Cursor;
  readonly models: Cursor;
  readonly meters: Cursor;
  readonly defaults: Cursor;
  readonly partBounds: Cursor;
}

/** The prices as written, with every mistake recorded. Ratios stay ratios; pricing turns them into credits. */
export function readPrices(at: PriceCursors, value: CreditValue | null, demo: boolean): PriceSource {
  const models: ModelPrice[] = [];
  let unpriced: PriceRule = { kind: 'reject' };
  for (const [pattern, here] of at.models.entries('a group of models with their prices')) {
    if (!PATTERN.test(pattern) || pattern === '') {
      here.wrong('a model name, or a pattern with one * at its end', { found: `the name ${JSON.stringify(pattern.slice(0, 64))}` });
    }
    const rule = readRule(here);
    if (pattern === '*') unpriced = rule ?? unpriced;
    else if (rule) models.push({ pattern, rule });
  }
  const defaults = or(at.defaults, readBoolean, true);
  checkLikes(at.models, models, defaults);
  return {
    credits: {
      base: or(at.base, (here) => readExact(here, { what: 'credits per 1M input tokens at ratio 1, a number above 0' }), '200'),
      value,
    },
    groups: at.groups.entries('a group of names with multipliers').flatMap(([name, here]) => readGroup(name, here) ?? []),
    models,
    meters: at.meters.entries('a group of meters with their prices').flatMap(([name, here]) => readMeter(name, here) ?? []),
    unpriced,
    defaults,
    demo,
    partBounds: readBounds(at.partBounds, DEFAULT_BOUNDS),
  };
}

/** A large image in full detail, three minutes of sound, a short document. */
const DEFAULT_BOUNDS: PartBounds = { image: 2500, audio: 4000, file: 20_000 };
const TOKENS = { min: 1, max: 100_000_000 };

function readGroup(name: string, at: Cursor): PriceSource['groups'] {
  const times = readMultiplier(at);
  return times === undefined ? [] : [{ name, times }];
}

/** `0.8` or `0.8x`. */
function readMultiplier(at: Cursor): string | undefined {
  const allowed = 'a multiplier above 0, like 0.8';
  const found = at.scalar(allowed);
  if (!found) return undefined;
  const match = found.plain ? /^((?:0|[1-9]\d{0,5})(?:\.\d{1,12})?)x?$/.exec(found.text) : null;
  return match && Number(match[1]) > 0 ? match[1] : at.wrong(allowed);
}

const RULE_ALLOWED = 'reject, { free: true }, { ratio, output }, { per, … } or { like, times }';

export function readRule(at: Cursor): PriceRule | undefined {
  if (at.kind === 'text') {
    const found = at.scalar(RULE_ALLOWED);
    return found && found.text !== 'reject' ? at.wrong(RULE_ALLOWED) : { kind: 'reject' };
  }
  if (at.kind !== 'map') return at.wrong(RULE_ALLOWED);
  const keys = new Set(at.entries(RULE_ALLOWED).map(([key]) => key));
  if (keys.has('free')) return readFree(at);
  if (keys.has('like')) return readLike(at);
  return readRatesRule(at, readFacts);
}

function readFree(at: Cursor): PriceRule | undefined {
  const field = at.fields(['free', ...FACTS]);
  if (readBoolean(field.free) === false) return field.free.wrong('free: true, or a price');
  return { kind: 'free', ...readFacts(field) };
}

function readLike(at: Cursor): PriceRule | undefined {
  const field = at.fields(['like', 'times', ...FACTS]);
  const model = readText(field.like, { max: 256, pattern: /^[^\s*]+$/, allowed: 'the name of another model' });
  const times = or(field.times, readMultiplier, '1');
  return model === undefined ? undefined : { kind: 'like', model, times, ...readFacts(field) };
}

function readFacts(field: FactCursors): ModelFacts {
  const holdOutput = or(field.hold_output, (here) => readWhole(here, TOKENS), undefined);
  const maxOutput = or(field.max_output, (here) => readWhole(here, TOKENS), undefined);
  return {
    ...(holdOutput === undefined ? {} : { holdOutput }),
    ...(maxOutput === undefined ? {} : { maxOutput }),
    ...(field.bounds.exists ? { bounds: readBounds(field.bounds, { image: null, audio: null, file: null }) } : {}),
    ...readWords(field, ['category', 'provider', 'note']),
  };
}

/** Words for people, kept only where they are stated. */
function readWords<Name extends string>(field: Readonly<Record<Name, Cursor>>, names: readonly Name[]): { [name in Name]?: string } {
  const words: { [name in Name]?: string } = {};
  for (const name of names) {
    const word = or(field[name], (here) => readText(here, { max: name === 'note' ? 300 : 60 }), undefined);
    if (word !== undefined) words[name] = word;
  }
  return words;
}

function readBounds(at: Cursor, defaults: PartBounds): PartBounds {
  const { image, audio, file } = at.fields(['image', 'audio', 'file']);
  const tokens = (here: Cursor, otherwise: number | null): number | null =>
    here.exists ? (readWhole(here, TOKENS) ?? otherwise) : here.isStated ? null : otherwise;
  return { image: tokens(image, defaults.image), audio: tokens(audio, defaults.audio), file: tokens(file, defaults.file) };
}

const METER_KEYS = ['label', 'per', 'price', 'step', 'critical', 'free', 'allowance', 'category', 'note'] as const;
const ALLOWANCE = { min: 1, max: 1_000_000_000 };

function readMeter(name: string, at: Cursor): readonly MeterPrice[] {
  if (!/^[a-z][a-z0-9_.:-]{0,63}$/.test(name))
    at.wrong('a meter name of small letters, digits and _ . : -', { found: `the name "${name.slice(0, 64)}"` });
  const field = at.fields(METER_KEYS);
  const free = or(field.free, readBoolean, false);
  const per = field.per.exists ? readPer(field.per) : field.per.wrong(PER_ALLOWED, { found: 'no per' });
  const amount = free
    ? '1'
    : field.price.exists
      ? readExact(field.price)
      : field.price.wrong('a price above 0, or free: true', { found: 'no price' });
  const step = or(field.step, readStep, 1);
  const seconds = per && SECONDS.get(per.unit);
  if (seconds === undefined && isMeter(name))
    at.wrong('another name, because requests are measured by this one', { found: `the name "${name}"` });
  const allowance = or(field.allowance, (here) => readWhole(here, ALLOWANCE), undefined);
  if (free && field.allowance.exists) field.allowance.wrong('an allowance only for what has a price', { found: 'free: true' });
  if (per === undefined || amount === undefined) return [];
  const label = or(field.label, (here) => readText(here, { max: 100 }), name);
  const critical = or(field.critical, readBoolean, true);
  if (seconds === undefined && field.step.exists) field.step.wrong('a step only for what is priced by time', { found: 'a step' });
  return [
    {
      ...{ name, label, unit: per.unit, amount, per: per.count * (seconds ?? 1), stepSeconds: seconds === undefined ? 0 : step },
      ...{ critical, free, ...(allowance === undefined || free ? {} : { allowance: allowance * (seconds ?? 1) }) },
      ...readWords(field, ['category', 'note']),
    },
  ];
}

/** With the default book off, a `like` that names nothing is found here, with its line. With it on, the book finds it. */
function checkLikes(at: Cursor, models: readonly ModelPrice[], defaults: boolean): void {
  const names = models.map(({ pattern }) => pattern);
  const places = new Map(at.entries('').map(([pattern, here]) => [pattern, here]));
  for (const { pattern, rule } of models) {
    if (rule.kind !== 'like') continue;
    const isKnown = names.some((name) => (name.endsWith('*') ? rule.model.startsWith(name.slice(0, -1)) : name === rule.model));
    if (rule.model === pattern) places.get(pattern)?.wrong('the name of another model', { found: 'a model priced like itself' });
    else if (!isKnown && !defaults) {
      const guess = meant(rule.model, names);
      places.get(pattern)?.wrong('a model that has a price', {
        found: `like: "${rule.model}", which has none${guess ? ` (did you mean "${guess}"?)` : ''}`,
      });
    }
  }
}
