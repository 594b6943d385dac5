import type { Breakdown, ChargeLine, Usage } from '../domain/charge.js';
import { MICRO_MAX, type MicroCredits, microCredits, ZERO } from '../domain/credits.js';
import { BUILT_IN, type PriceEntry, type RateTable, type TableRate, tableFor } from './entry.js';
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
  const add = (meter: string, quantity: number, rate: TableRate): void => {
    lines.push({ meter, quantity, rate: rate.value.text });
    sum = rate.safeNumerator < 0 ? Number.NaN : sum + quantity * rate.safeNumerator;
  };
  measure(usage, entry);
  for (let i = 0; i < BUILT_IN.length; i++) {
    const quantity = measured[i] as number;
    const rate = quantity > 0 ? table.builtIn[i] : undefined;
    if (rate) add(BUILT_IN[i] as string, quantity, rate);
  }
  if (usage.meters) addCustom(usage.meters, table, add);
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
export function safely(sum: number, table: RateTable, times: Fraction): MicroCredits | undefined {
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

/** Quantities of the built-in meters of the charge being made; written and read within one call, so one is enough. */
const measured = new Float64Array(BUILT_IN.length);

/**
 * Totals taken apart so that nothing is counted twice. A report whose parts exceed their whole is cut to the whole,
 * the dearest kind first, so that a lie cannot make a request cheaper and no part is ever negative.
 */
function measure(usage: Usage, entry: PriceEntry): void {
  measured[0] = 1;
  let left = whole(usage.input);
  left = take(2, usage.audio_input, left);
  left = take(3, usage.cache_write_1h, left);
  left = take(4, usage.cache_write_5m, left);
  left = take(5, usage.cached_input, left);
  measured[1] = left;
  left = whole(usage.output);
  left = take(7, usage.audio_output, left);
  left = take(8, usage.reasoning, left);
  measured[6] = left;
  measured[9] = whole(usage.images);
  measured[10] = stepped(usage.seconds, entry.stepSeconds);
  measured[11] = whole(usage.characters);
}

/** Notes as much of a part as there is left of its whole, and answers what is left then. */
function take(at: number, wanted: number, left: number): number {
  const some = Math.min(whole(wanted), left);
  measured[at] = some;
  return left - some;
}

function addCustom(
  meters: Readonly<Record<string, number>>,
  table: RateTable,
  add: (meter: string, quantity: number, rate: TableRate) => void,
): void {
  for (const [meter, reported] of Object.entries(meters)) {
    const quantity = BUILT_IN.includes(meter) ? 0 : whole(reported);
    const rate = quantity > 0 ? table.rates.get(meter) : undefined;
    if (rate) add(meter, quantity, rate);
  }
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
