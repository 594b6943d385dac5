import { z } from '@hono/zod-openapi';
import type { MeterEntry, PriceBook } from '../pricing/book.js';
import { type Fraction, fraction, multiply, parseExact } from '../pricing/fraction.js';
import type { ApiDeps } from './deps.js';

/** A price, exact: a decimal where there is one, else a fraction such as "1/3". */
export const UnitPriceSchema = z
  .strictObject({
    credits: z.string(),
    money: z.strictObject({ amount: z.string(), currency: z.string() }).nullable(),
    /** The price is for this many units: 1,000,000 tokens, 1 request, 60 seconds. */
    per: z.int(),
    unit: z.string(),
  })
  .openapi('UnitPrice');

const TOKENS: readonly (readonly [string, string])[] = [
  ['input', 'input token'],
  ['cached_input', 'cached input token'],
  ['cache_write_5m', 'token written to a 5-minute cache'],
  ['cache_write_1h', 'token written to a 1-hour cache'],
  ['output', 'output token'],
  ['reasoning', 'reasoning token'],
  ['audio_input', 'audio input token'],
  ['audio_output', 'audio output token'],
];

const UNITS = new Map<string, { readonly unit: string; readonly per: number }>([
  ...TOKENS.map(([meter, unit]) => [meter, { unit, per: 1_000_000 }] as const),
  ['request', { unit: 'request', per: 1 }],
  ['image', { unit: 'image', per: 1 }],
  ['second', { unit: 'second', per: 60 }],
  ['character', { unit: 'character', per: 1_000_000 }],
]);

export interface Unit {
  readonly unit: string;
  readonly per: number;
}

/** Of what a request reports; anything else is sold by the piece. */
export const unitOf = (meter: string): Unit => UNITS.get(meter) ?? { unit: meter, per: 1 };

/** In the words of the price list; time is always in seconds. */
export const unitOfMeter = ({ entry, unit, per }: MeterEntry): Unit => ({ unit: entry.stepSeconds > 0 ? 'second' : unit, per });

/** `rate` in micro-credits per single unit. */
export function unitPrice(deps: Pick<ApiDeps, 'credits'>, rate: Fraction, { unit, per }: Unit): z.input<typeof UnitPriceSchema> {
  const credits = fraction(rate.n * BigInt(per), rate.d * 1_000_000n);
  const { value } = deps.credits;
  const worth = value === null ? undefined : parseExact(value.amount);
  const money = value && worth ? { amount: exactText(multiply(credits, worth)), currency: value.currency } : null;
  return { credits: exactText(credits), money, per, unit };
}

/** 3/40 is "0.075"; 1/3 has no end and stays "1/3". */
export function exactText({ n, d, text }: Fraction): string {
  let rest = d;
  let decimals = 0;
  for (const factor of [10n, 2n, 5n])
    while (rest % factor === 0n) {
      rest /= factor;
      decimals += 1;
    }
  if (rest !== 1n) return text;
  const digits = ((n * 10n ** BigInt(decimals)) / d).toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const part = digits.slice(digits.length - decimals).replace(/0+$/, '');
  return part === '' ? whole : `${whole}.${part}`;
}

const METERED = 'meter:';

const ENDPOINTS: ReadonlyMap<string, string> = new Map([
  ['chat', 'LLM inference'],
  ['completions', 'LLM inference'],
  ['responses', 'LLM inference'],
  ['embeddings', 'Embeddings'],
  ['audio', 'Speech'],
  ['images', 'Images'],
]);

/** The meter that a row with this endpoint was charged by; undefined for requests, and for meters that are no more. */
export const meterAt = (book: PriceBook, endpoint: string): MeterEntry | undefined =>
  endpoint.startsWith(METERED) ? book.meter(endpoint.slice(METERED.length)) : undefined;

/** The heading of a meter without one of its own. */
export const METER_CATEGORY = 'Metered actions';

/** What was done, in the words of a bill: those of the price book in force, else by what the endpoint does. */
export function categoryOf(book: PriceBook, { model, endpoint }: { readonly model: string; readonly endpoint: string }): string {
  if (endpoint.startsWith(METERED)) return meterAt(book, endpoint)?.category ?? METER_CATEGORY;
  const [first = ''] = endpoint.replace(/^\//, '').split(/[/.]/);
  return book.find(model)?.category ?? ENDPOINTS.get(first) ?? 'API';
}
