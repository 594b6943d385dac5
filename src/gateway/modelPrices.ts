import type { CreditValue } from '../domain/credits.js';
import type { PriceEntry } from '../pricing/entry.js';
import { type Fraction, fraction, multiply, parseExact } from '../pricing/fraction.js';

/** Prices per single unit as decimals, under the names that clients of other gateways read. */
export type ModelPricing = Readonly<Record<string, string>>;

/** These two are always there, so that a sum over them needs no question. */
const ALWAYS = ['prompt', 'completion'];
const NAMES: ReadonlyMap<string, string> = new Map([
  ['input', 'prompt'],
  ['output', 'completion'],
  ['request', 'request'],
  ['image', 'image'],
  ['cached_input', 'input_cache_read'],
  ['cache_write_5m', 'input_cache_write'],
  ['cache_write_1h', 'input_cache_write_1h'],
  ['reasoning', 'internal_reasoning'],
  ['audio_input', 'audio'],
  ['audio_output', 'audio_output'],
  ['second', 'second'],
  ['character', 'character'],
]);

/** Said only where it costs something else than the whole it is a part of: a client that adds up must not count it twice. */
const PART_OF: ReadonlyMap<string, string> = new Map([
  ['reasoning', 'output'],
  ['audio_input', 'input'],
  ['audio_output', 'output'],
]);

/** In the operator's currency; where no value of a credit is published, in credits. Of several tiers the first. */
export function modelPricing(priced: { readonly entry: PriceEntry; readonly times: Fraction }, value: CreditValue | null): ModelPricing {
  const credit = (value && parseExact(value.amount)) ?? fraction(1n);
  const unit = multiply(priced.times, fraction(credit.n, credit.d * 1_000_000n));
  const found = new Map(ALWAYS.map((name) => [name, '0']));
  const { rates } = priced.entry.table;
  for (const [meter, { value: rate }] of rates) {
    if (rates.get(PART_OF.get(meter) ?? '')?.value.text !== rate.text)
      found.set(NAMES.get(meter) ?? meter, decimalOf(multiply(rate, unit)));
  }
  return Object.fromEntries(found);
}

const PLACES = 20;
const SCALE = 10n ** BigInt(PLACES);

/** Exact as far as a decimal can be; what has no end is rounded up. */
function decimalOf({ n, d }: Fraction): string {
  const scaled = (n * SCALE + d - 1n) / d;
  const rest = (scaled % SCALE).toString().padStart(PLACES, '0').replace(/0+$/, '');
  return rest === '' ? String(scaled / SCALE) : `${scaled / SCALE}.${rest}`;
}
