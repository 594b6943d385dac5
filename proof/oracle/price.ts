/**
 * What `docs/prices.md` says a request costs, in arithmetic of its own: fractions of big integers, one rounding, up.
 * Nothing here is shared with the product.
 */
export interface Used {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
  readonly reasoning: number;
}

/** Prices as an operator writes them; a rate is micro-credits per token as a decimal text. */
export interface Price {
  readonly input?: string;
  readonly output?: string;
  readonly cached?: string;
  readonly reasoning?: string;
  /** Micro-credits per request that is charged. */
  readonly fee?: string;
  /** Other rates for a request whose input is longer than this. */
  readonly above?: { readonly tokens: number; readonly input: string; readonly output: string };
}

type Fraction = readonly [top: bigint, bottom: bigint];

/** `12.5` is 125/10. */
function exact(text: string): Fraction {
  const [whole = '', rest = ''] = text.split('.');
  return [BigInt(whole + rest), 10n ** BigInt(rest.length)];
}

const plus = (a: Fraction, b: Fraction): Fraction => [a[0] * b[1] + b[0] * a[1], a[1] * b[1]];
const times = (a: Fraction, b: Fraction): Fraction => [a[0] * b[0], a[1] * b[1]];

export function priceOf(price: Price, used: Used, multiplier = '1'): number {
  const isLong = price.above !== undefined && used.input > price.above.tokens;
  const input = (isLong ? price.above?.input : price.input) ?? '0';
  const output = (isLong ? price.above?.output : price.output) ?? input;
  const cachedRate = (isLong ? undefined : price.cached) ?? input;
  const reasoningRate = (isLong ? undefined : price.reasoning) ?? output;
  const cached = Math.min(used.cached, used.input);
  const reasoning = Math.min(used.reasoning, used.output);
  const lines: [number, string][] = [
    [used.input - cached, input],
    [cached, cachedRate],
    [used.output - reasoning, output],
    [reasoning, reasoningRate],
    [1, price.fee ?? '0'],
  ];
  const sum = lines.reduce<Fraction>((total, [quantity, rate]) => plus(total, times([BigInt(quantity), 1n], exact(rate))), [0n, 1n]);
  const [top, bottom] = times(sum, exact(multiplier));
  return Number((top + bottom - 1n) / bottom);
}
