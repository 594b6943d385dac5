import { EXACT } from '../domain/prices.js';

/** An exact, non-negative rational in lowest terms. `text` is how it is stored in a row: "15" or "1/3". */
export interface Fraction {
  readonly n: bigint;
  readonly d: bigint;
  readonly text: string;
}

export function fraction(n: bigint, d: bigint = 1n): Fraction {
  if (n < 0n || d <= 0n) throw new RangeError(`not a non-negative fraction: ${n}/${d}`);
  const by = gcd(n, d);
  const [top, bottom] = [n / by, d / by];
  return { n: top, d: bottom, text: bottom === 1n ? `${top}` : `${top}/${bottom}` };
}

export const ONE = fraction(1n);
export const NOTHING = fraction(0n);

export const multiply = (a: Fraction, b: Fraction): Fraction => fraction(a.n * b.n, a.d * b.d);
export const compare = (a: Fraction, b: Fraction): number => Number(a.n * b.d - b.n * a.d > 0n) - Number(a.n * b.d - b.n * a.d < 0n);
export const larger = (a: Fraction, b: Fraction): Fraction => (compare(a, b) >= 0 ? a : b);

/** Reads a number as somebody wrote it: "0.075" is 3/40. Anything else (signs, exponents, spaces) is undefined. */
export function parseExact(text: unknown): Fraction | undefined {
  const match = typeof text === 'string' && text.length <= 64 ? EXACT.exec(text) : null;
  if (!match) return undefined;
  const decimals = (match[2] ?? '.').slice(1);
  return fraction(BigInt((match[1] ?? '') + decimals), 10n ** BigInt(decimals.length) * BigInt((match[3] ?? '/1').slice(1)));
}

/** The stored form, with terms of any length: the inverse of `text`. */
export function parseFraction(text: string): Fraction | undefined {
  const match = text.length <= 400 ? /^(\d+)(?:\/(\d+))?$/.exec(text) : null;
  const d = BigInt(match?.[2] ?? 1);
  return match && d > 0n ? fraction(BigInt(match[1] ?? 0), d) : undefined;
}

/** The exact decimal a float stands for when printed as short as possible: 0.1 is 1/10, 1e-7 is 1/10,000,000. */
export function fromFloat(value: number): Fraction | undefined {
  if (!Number.isFinite(value) || value < 0) return undefined;
  const match = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value));
  if (!match) return undefined;
  const decimals = match[2] ?? '';
  const exponent = Number(match[3] ?? 0) - decimals.length;
  const digits = BigInt((match[1] ?? '') + decimals);
  return exponent >= 0 ? fraction(digits * 10n ** BigInt(exponent)) : fraction(digits, 10n ** BigInt(-exponent));
}

export function lcm(a: bigint, b: bigint): bigint {
  return (a / gcd(a, b)) * b;
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y > 0n) [x, y] = [y, x % y];
  return x === 0n ? 1n : x;
}
