import type { LongContextTier, Meter, ModelFacts, Rate, Rates, RatesRule } from '../domain/prices.js';
import type { Cursor } from './cursor.js';
import { or, readExact, readOneOf, readWhole } from './scalars.js';
import { FACTS, type FactCursors, readPer, readStep, SECONDS } from './units.js';

const TOKEN_KEYS = ['ratio', 'input', 'output', 'cached', 'cache_write', 'cache_write_1h', 'reasoning', 'audio', 'request', 'per'] as const;
const KEYS = [...TOKEN_KEYS, 'price', 'sizes', 'step', 'measure', 'batch', 'tiers', ...FACTS] as const;

type Fields = Readonly<Record<(typeof KEYS)[number], Cursor>>;

/** A model's price by rates: ratios, explicit prices, or both. */
export function readRatesRule(at: Cursor, readFacts: (field: FactCursors) => ModelFacts): RatesRule | undefined {
  const field = at.fields(KEYS);
  const per = or(field.per, readPer, undefined);
  if (field.per.exists && !per) return undefined;
  const facts = readFacts(field);
  const serviceTiers = readBatch(field.batch);
  if (per && per.unit !== 'token') {
    const flat = readFlat(field, per);
    return flat && { kind: 'rates', ...flat, tiers: [], ...facts, ...serviceTiers };
  }
  for (const key of ['price', 'sizes', 'step', 'measure'] as const) {
    if (field[key].exists)
      field[key].wrong('this only with `per: request`, `per: minute` or `per: image`', { found: `"${key}" in a price by tokens` });
  }
  const rates = readTokenRates(at, field, { perTokens: per?.count });
  if (!rates) return undefined;
  return { kind: 'rates', rates, tiers: readTiers(field.tiers, per?.count), stepSeconds: 0, ...facts, ...serviceTiers };
}

function readBatch(at: Cursor): Pick<RatesRule, 'serviceTiers'> {
  const match = at.exists ? /^((?:0|[1-9]\d{0,5})(?:\.\d{1,12})?)x$/.exec(at.scalar('a multiple like 0.5x')?.text ?? '') : null;
  if (at.exists && !(Number(match?.[1]) > 0)) at.wrong('a multiple like 0.5x');
  else if (at.exists)
    at.wrong('nothing yet', { found: 'a batch multiplier, which has no effect: batches are not served yet', severity: 'warning' });
  return match?.[1] === undefined ? {} : { serviceTiers: [{ name: 'batch', times: match[1] }] };
}

interface TokenOptions {
  readonly perTokens: number | undefined;
  /** Inside a tier only what differs is stated. */
  readonly isTier?: boolean;
}

type TokenFields = Readonly<Record<(typeof TOKEN_KEYS)[number], Cursor>>;

function readTokenRates(at: Cursor, field: TokenFields, options: TokenOptions): Rates | undefined {
  const { perTokens, isTier = false } = options;
  const rates: Partial<Record<Meter, Rate>> = {};
  const put = (meter: Meter, here: Cursor): void => {
    const rate = here.exists ? readRate(here, perTokens) : undefined;
    if (rate) rates[meter] = rate;
  };
  if (field.ratio.exists && field.input.exists) field.input.wrong('either ratio or input, not both', { found: 'both' });
  if (field.ratio.exists) {
    const amount = readExact(field.ratio, { max: 1_000_000 });
    if (amount !== undefined) rates.input = { by: 'ratio', amount };
  } else put('input', field.input);
  if (!isTier && !field.ratio.exists && !field.input.exists)
    return at.wrong('a ratio, an input price, `per: request`, like, or free: true', { found: 'no price' });
  if (!isTier && !field.output.exists)
    field.output.wrong('an output price, like 4x; `output: none` for models that only read, such as embeddings', {
      found: 'no output price',
    });
  if (!isNone(field.output)) put('output', field.output);
  put('cached_input', field.cached);
  put('cache_write_5m', field.cache_write);
  put('cache_write_1h', field.cache_write_1h);
  put('reasoning', field.reasoning);
  const audio = field.audio.fields(['input', 'output']);
  put('audio_input', audio.input);
  put('audio_output', audio.output);
  if (field.request.exists) {
    const amount = readExact(field.request);
    if (amount !== undefined) rates.request = { by: 'credits', amount, per: 1 };
  }
  return rates;
}

const isNone = (at: Cursor): boolean => at.kind === 'text' && at.scalar('')?.text === 'none';

/** `4x` is a multiple of the input price; a bare number needs `per: 1M tokens`, because elsewhere it could mean either. */
function readRate(at: Cursor, perTokens: number | undefined): Rate | undefined {
  const allowed = 'a multiple like 4x or 0.5x, or, with `per: 1M tokens`, a number of credits above 0';
  const found = at.scalar(allowed);
  if (!found) return undefined;
  const multiple = /^((?:0|[1-9]\d{0,5})(?:\.\d{1,12})?)x$/.exec(found.text);
  if (multiple) return Number(multiple[1]) > 0 ? { by: 'input', amount: multiple[1] ?? '' } : at.wrong(allowed);
  if (perTokens === undefined) return at.wrong(allowed);
  const amount = readExact(at);
  return amount === undefined ? undefined : { by: 'credits', amount, per: perTokens };
}

function readTiers(at: Cursor, perTokens: number | undefined): LongContextTier[] {
  const seen = new Set<number>();
  return at.items('a list of { above: 200000, … } or { from: 272000, … }').flatMap((item) => {
    const field = item.fields([...TOKEN_KEYS, 'above', 'from']);
    const where = field.above.exists ? field.above : field.from;
    if (field.above.exists === field.from.exists)
      return item.wrong('one boundary: above (more than) or from (that many or more)', { found: 'none or both' }) ?? [];
    const tokens = readWhole(where, { min: 1, max: 1_000_000_000 });
    if (field.per.exists) field.per.wrong('the unit of the model', { found: 'a unit in a tier' });
    if (field.request.exists) field.request.wrong('a fee per request at the model', { found: 'a fee in a tier' });
    const rates = readTokenRates(item, field, { perTokens, isTier: true });
    if (tokens === undefined || !rates) return [];
    const first = field.above.exists ? tokens + 1 : tokens;
    if (seen.has(first)) return where.wrong('each boundary once', { found: 'the same boundary twice' }) ?? [];
    seen.add(first);
    if (Object.keys(rates).length === 0) return item.wrong('the prices beyond the boundary', { found: 'no price' }) ?? [];
    return [{ tokens, boundary: field.above.exists ? ('gt' as const) : ('gte' as const), rates }];
  });
}

/** A price by request, time, image or character. */
function readFlat(
  field: Fields,
  per: { readonly unit: string; readonly count: number },
): Pick<RatesRule, 'rates' | 'stepSeconds'> | undefined {
  for (const key of [
    'ratio',
    'input',
    'output',
    'cached',
    'cache_write',
    'cache_write_1h',
    'reasoning',
    'audio',
    'request',
    'tiers',
  ] as const) {
    if (field[key].exists) field[key].wrong('`price`, because this model is priced by another unit than tokens', { found: `"${key}"` });
  }
  const seconds = SECONDS.get(per.unit);
  if (seconds === undefined && field.step.exists) field.step.wrong('a step only for what is priced by time', { found: 'a step' });
  if (field.measure.exists) readOneOf(field.measure, ['input', 'output']);
  const step = seconds === undefined ? 0 : or(field.step, readStep, 1);
  if (!field.price.exists) return field.price.wrong('a price in credits', { found: 'no price' });
  if (per.unit === 'image') return readImages(field, per.count);
  if (field.sizes.exists) field.sizes.wrong('sizes only with `per: image`', { found: 'sizes' });
  const meter = seconds === undefined ? FLAT.get(per.unit) : 'second';
  if (!meter) return field.per.wrong('tokens, request, second, minute, hour, image or characters');
  const amount = readExact(field.price);
  return amount === undefined
    ? undefined
    : { rates: { [meter]: { by: 'credits', amount, per: per.count * (seconds ?? 1) } }, stepSeconds: step };
}

const FLAT: ReadonlyMap<string, Meter> = new Map([
  ['request', 'request'],
  ['character', 'character'],
]);

/** One price, or one per quality and size: each becomes a meter of its own, like `image.high.1536x1024`. */
function readImages(field: Fields, per: number): Pick<RatesRule, 'rates' | 'stepSeconds'> | undefined {
  const sizes = field.sizes.entries('a group of sizes with multipliers like 1.5x');
  if (field.price.kind === 'text') {
    const amount = readExact(field.price);
    return amount === undefined ? undefined : { rates: { image: { by: 'credits', amount, per } }, stepSeconds: 0 };
  }
  const custom: { meter: string; rate: Rate }[] = [];
  for (const [quality, here] of field.price.entries('a price, or a group of qualities with prices')) {
    const amount = readExact(here);
    if (amount === undefined) continue;
    custom.push({ meter: `image.${quality}`, rate: { by: 'credits', amount, per } });
    for (const [size, times] of sizes) {
      const multiple = /^((?:0|[1-9]\d{0,5})(?:\.\d{1,6})?)x$/.exec(times.scalar('a multiplier like 1.5x')?.text ?? '')?.[1];
      if (multiple === undefined || !(Number(multiple) > 0)) times.wrong('a multiplier above 0 like 1.5x');
      else custom.push({ meter: `image.${quality}.${size}`, rate: { by: 'credits', amount: product(amount, multiple), per } });
    }
  }
  return custom.length > 0 ? { rates: { custom }, stepSeconds: 0 } : undefined;
}

/** Two plain decimals multiplied exactly. */
function product(a: string, b: string): string {
  const [aWhole = '', aRest = ''] = a.split('.');
  const [bWhole = '', bRest = ''] = b.split('.');
  const decimals = aRest.length + bRest.length;
  const digits = (BigInt(aWhole + aRest) * BigInt(bWhole + bRest)).toString().padStart(decimals + 1, '0');
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  return digits.slice(0, digits.length - decimals) + (decimals > 0 && fraction ? `.${fraction}` : '');
}
