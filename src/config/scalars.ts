import type { Cursor } from './cursor.js';

/** Readers of single values. Each returns undefined after recording what is wrong, so that reading goes on. */

export function readText(
  at: Cursor,
  options: { readonly max?: number; readonly pattern?: RegExp; readonly allowed?: string } = {},
): string | undefined {
  const { max = 4096, pattern, allowed = 'text' } = options;
  const found = at.scalar(allowed);
  if (!found) return undefined;
  if (found.text === '' || found.text.length > max || (pattern && !pattern.test(found.text))) return at.wrong(allowed);
  return found.text;
}

export function readOneOf<Word extends string>(at: Cursor, words: readonly Word[]): Word | undefined {
  const allowed = words.join(' or ');
  const found = at.scalar(allowed);
  if (!found) return undefined;
  return words.find((word) => word === found.text) ?? at.wrong(allowed);
}

export function readBoolean(at: Cursor): boolean | undefined {
  const word = readOneOf(at, ['true', 'false']);
  return word === undefined ? undefined : word === 'true';
}

/** Digits, at most one dot: no sign, no exponent, no 0x10, no 010, no 1_000, no quotes. */
const NUMBER = /^(0|[1-9]\d{0,14})(\.\d{1,12})?$/;

export function readWhole(at: Cursor, bounds: { readonly min: number; readonly max: number }): number | undefined {
  const allowed = `a whole number from ${bounds.min} to ${bounds.max}`;
  const found = at.scalar(allowed);
  if (!found) return undefined;
  const value = found.plain && /^(0|[1-9]\d{0,14})$/.test(found.text) ? Number(found.text) : Number.NaN;
  return value >= bounds.min && value <= bounds.max ? value : at.wrong(allowed);
}

/** The exact text of a number above 0 and at most `max`. */
export function readExact(at: Cursor, options: { readonly what?: string; readonly max?: number } = {}): string | undefined {
  const { max = 100_000_000, what = 'a number above 0' } = options;
  const allowed = `${what} and at most ${max}, written plainly like 0.075 (\`free: true\` for what costs nothing)`;
  const found = at.scalar(allowed);
  if (!found) return undefined;
  if (!found.plain || !NUMBER.test(found.text) || !(Number(found.text) > 0) || Number(found.text) > max) return at.wrong(allowed);
  return found.text;
}

const UNITS = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['min', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** `500ms`, `10s`, `5m`, `1h`: the unit is always stated. */
export function readDurationMs(at: Cursor, bounds: { readonly min: number; readonly max: number }): number | undefined {
  const allowed = `a time with its unit, like 500ms, 10s, 5m or 1h, from ${inWords(bounds.min)} to ${inWords(bounds.max)}`;
  const found = at.scalar(allowed);
  if (!found) return undefined;
  const match = /^(0|[1-9]\d{0,11})\s?(ms|s|m|min|h|d)$/.exec(found.text);
  const value = match ? Number(match[1]) * (UNITS.get(match[2] ?? '') ?? Number.NaN) : Number.NaN;
  return value >= bounds.min && value <= bounds.max ? value : at.wrong(allowed);
}

const inWords = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

const SIZES = new Map([
  ['', 1],
  ['B', 1],
  ['kB', 1000],
  ['KB', 1000],
  ['MB', 1_000_000],
  ['GB', 1_000_000_000],
  ['KiB', 1024],
  ['MiB', 1_048_576],
  ['GiB', 1_073_741_824],
]);

/** `20MB`, `64KiB`, or a plain number of bytes. */
export function readBytes(at: Cursor, bounds: { readonly min: number; readonly max: number }): number | undefined {
  const allowed = `a size like 20MB or 64KiB, from ${bounds.min} to ${bounds.max} bytes`;
  const found = at.scalar(allowed);
  if (!found) return undefined;
  const match = /^(0|[1-9]\d{0,11})\s?([kKMG]i?B|B|)$/.exec(found.text);
  const value = match ? Number(match[1]) * (SIZES.get(match[2] ?? '') ?? Number.NaN) : Number.NaN;
  return value >= bounds.min && value <= bounds.max ? value : at.wrong(allowed);
}

/** The value, or a default where nothing is stated. A wrong value also gives the default; its finding stops the start. */
export function or<T>(at: Cursor, read: (at: Cursor) => T | undefined, otherwise: T): T {
  return at.exists ? (read(at) ?? otherwise) : otherwise;
}
