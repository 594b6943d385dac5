declare const unit: unique symbol;

/**
 * One millionth of a credit. A safe integer, not a bigint: Redis Lua computes in doubles, so a bigint would promise
 * what the hot store cannot keep.
 */
export type MicroCredits = number & { readonly [unit]: 'MicroCredits' };

export const MICRO_PER_CREDIT = 1_000_000;

/** The largest amount any single command may carry: 15 digits, far below 2^53, so sums of thousands stay exact. */
export const MICRO_MAX = 999_999_999_999_999;

export const ZERO = 0 as MicroCredits;

export function microCredits(value: number): MicroCredits {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole, safe amount: ${value}`);
  return (value === 0 ? 0 : value) as MicroCredits; // -0 would print as "-0" in Redis
}

/** Reads an amount of credits written by a person or a client: digits with at most six decimals, never negative. */
export function parseCredits(input: unknown): MicroCredits | undefined {
  const text = typeof input === 'number' ? plainDecimal(input) : input;
  if (typeof text !== 'string') return undefined;
  const match = /^(\d{1,12})(?:\.(\d{1,6})0*)?$/.exec(text);
  if (!match) return undefined;
  const micro = Number(match[1]) * MICRO_PER_CREDIT + Number((match[2] ?? '').padEnd(6, '0'));
  return Number.isSafeInteger(micro) && micro <= MICRO_MAX ? (micro as MicroCredits) : undefined;
}

/** A JSON number such as 1e-7 prints in scientific notation; it has too many decimals anyway, so it is refused. */
function plainDecimal(value: number): string | undefined {
  if (!Number.isFinite(value) || value < 0) return undefined;
  const text = String(value);
  return text.includes('e') ? undefined : text;
}

/** Exact, never rounded, without trailing zeros: 12345678 is "12.345678", 10000000 is "10". */
export function formatCredits(amount: number): string {
  if (!(amount >= 0 && amount <= Number.MAX_SAFE_INTEGER)) return formatScaled(BigInt(amount), 6);
  const rest = amount % MICRO_PER_CREDIT;
  const whole = (amount - rest) / MICRO_PER_CREDIT;
  if (rest === 0) return `${whole}`;
  let fraction = rest;
  let scale = MICRO_PER_CREDIT;
  for (; fraction % 10 === 0; scale /= 10) fraction /= 10;
  return `${whole}.${`${scale + fraction}`.slice(1)}`; // the 1 in front has kept its zeros
}

/** An integer scaled by a power of ten, printed as an exact decimal. */
export function formatScaled(value: bigint, decimals: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  return `${value < 0n ? '-' : ''}${whole}${fraction ? `.${fraction}` : ''}`;
}

/** What one credit is worth in money, as the operator wrote it: an exact decimal and an ISO currency. */
export interface CreditValue {
  readonly amount: string;
  readonly currency: string;
}

export interface AmountOut {
  readonly credits: string;
  readonly micro: number;
  readonly money: { readonly amount: string; readonly currency: string } | null;
}

/** The one shape in which amounts leave the house. */
export function amountOut(amount: number, value: CreditValue | null): AmountOut {
  return { credits: formatCredits(amount), micro: amount, money: value ? moneyOf(amount, value) : null };
}

function moneyOf(amount: number, value: CreditValue): { amount: string; currency: string } {
  const [whole = '0', fraction = ''] = value.amount.split('.');
  const scaled = BigInt(whole + fraction) * BigInt(amount);
  return { amount: formatScaled(scaled, fraction.length + 6), currency: value.currency };
}
