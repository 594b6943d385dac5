import type { Breakdown, ChargeLine, Usage } from '../domain/charge.js';
import { MICRO_MAX, type MicroCredits, microCredits, ZERO } from '../domain/credits.js';
import { type PriceEntry, type RateTable, tableFor } from './entry.js';
import { type Fraction, fraction, NOTHING, parseFraction } from './fraction.js';

/**
 * What a request costs: Σ quantity × rate × times, exact, rounded up once. At least 1 µcr as soon as anything with a
 * price was used; 0 only for a free model or when nothing with a price was used. The rules are in `docs/prices.md`.
 */
export function charge(what: { readonly entry: PriceEntry; readonly usage: Usage; readonly times: Fraction }): {
  readonly cost: MicroCredits;
  readonly breakdown: Breakdown;
} {
  const { entry, usage, times } = what;
  if (entry.free) return { cost: ZERO, breakdown: { lines: [], times: times.text } };
  const table = tableFor(entry, whole(usage.input));
  const lines: ChargeLine[] = [];
  let sum = 0;
  for (const [meter, quantity] of quantitiesOf(usage, entry)) {
    const rate = quantity > 0 ? table.rates.get(meter) : undefined;
    if (!rate) continue;
    lines.push({ meter, quantity, rate: rate.value.text });
    sum = rate.safeNumerator < 0 ? Number.NaN : sum + quantity * rate.safeNumerator;
  }
  const cost = safely(sum, table, times) ?? exactly(lines, table, times);
  return { cost, breakdown: { lines, times: times.text } };
}

/** The same charge from the row alone; anyone can do this with pencil and paper. Throws when the row is not a breakdown. */
export function recompute(breakdown: Breakdown): MicroCredits {
  let total = NOTHING;
  for (const { meter, quantity, rate } of breakdown.lines) {
    const exact = parseFraction(rate);
    if (!exact || !Number.isSafeInteger(quantity) || quantity < 0) throw new RangeError(`the line "${meter}" is not quantity × rate`);
    total = fraction(total.n * exact.d + BigInt(quantity) * exact.n * total.d, total.d * exact.d);
  }
  const times = parseFraction(breakdown.times);
  if (!times) throw new RangeError('the multiplier is not a fraction');
  return roundUp(total.n * times.n, total.d * times.d);
}

/**
 * The sum in floating point, only where it provably is the exact one: every term is a whole number ≥ 0, so if the float
 * result is at most 2^53 − 1 no step has rounded. Undefined otherwise.
 */
function safely(sum: number, table: RateTable, times: Fraction): MicroCredits | undefined {
  const top = sum * Number(times.n);
  const bottom = table.safeDenominator * Number(times.d);
  if (!(top <= Number.MAX_SAFE_INTEGER) || !(bottom > 0 && bottom <= Number.MAX_SAFE_INTEGER)) return undefined;
  const rest = top % bottom;
  const cost = (top - rest) / bottom + (rest > 0 ? 1 : 0);
  return cost <= MICRO_MAX ? microCredits(cost) : undefined;
}

function exactly(lines: readonly ChargeLine[], table: RateTable, times: Fraction): MicroCredits {
  let sum = 0n;
  for (const { meter, quantity } of lines) sum += BigInt(quantity) * (table.rates.get(meter)?.numerator ?? 0n);
  return roundUp(sum * times.n, table.denominator * times.d);
}

/** The one rounding. A charge beyond what a command may carry is cut to it; usage that absurd is refused before it gets here. */
function roundUp(n: bigint, d: bigint): MicroCredits {
  const up = (n + d - 1n) / d;
  return microCredits(up > BigInt(MICRO_MAX) ? MICRO_MAX : Number(up));
}

/**
 * Totals taken apart so that nothing is counted twice. A report whose parts exceed their whole is cut to the whole,
 * the dearest kind first, so that a lie cannot make a request cheaper and no part is ever negative.
 */
function quantitiesOf(usage: Usage, entry: PriceEntry): [string, number][] {
  const input = parts(usage.input, usage.audio_input, usage.cache_write_1h, usage.cache_write_5m, usage.cached_input);
  const output = parts(usage.output, usage.audio_output, usage.reasoning);
  const list: [string, number][] = [
    ['request', 1],
    ['input', input[0] ?? 0],
    ['audio_input', input[1] ?? 0],
    ['cache_write_1h', input[2] ?? 0],
    ['cache_write_5m', input[3] ?? 0],
    ['cached_input', input[4] ?? 0],
    ['output', output[0] ?? 0],
    ['audio_output', output[1] ?? 0],
    ['reasoning', output[2] ?? 0],
    ['image', whole(usage.images)],
    ['second', stepped(usage.seconds, entry.stepSeconds)],
    ['character', whole(usage.characters)],
  ];
  if (usage.meters)
    for (const [meter, quantity] of Object.entries(usage.meters)) if (!BUILT_IN.has(meter)) list.push([meter, whole(quantity)]);
  return list;
}

const BUILT_IN: ReadonlySet<string> = new Set(
  'request input audio_input cache_write_1h cache_write_5m cached_input output audio_output reasoning image second character'.split(' '),
);

/** The rest of a total, then each part cut to what is left. */
function parts(total: number, ...wanted: readonly number[]): number[] {
  let left = whole(total);
  const taken = wanted.map((part) => {
    const some = Math.min(whole(part), left);
    left -= some;
    return some;
  });
  return [left, ...taken];
}

/** Time rounds up to whole steps: 61.2 seconds with a step of 60 are 120. */
function stepped(seconds: number, step: number): number {
  const up = whole(seconds);
  return step > 1 ? Math.min(Math.ceil(up / step) * step, QUANTITY_MAX) : up;
}

const QUANTITY_MAX = 1e15;

/** Whatever is reported, a quantity is a whole number from 0 to 10^15; fractions round up, nonsense counts as 0. */
function whole(value: number): number {
  if (!(value > 0)) return 0;
  return value >= QUANTITY_MAX ? QUANTITY_MAX : Math.ceil(value);
}
