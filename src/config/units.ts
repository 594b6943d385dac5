import type { Cursor } from './cursor.js';

/** What a model may state besides its price. */
export const FACTS = ['hold_output', 'max_output', 'bounds', 'category', 'provider', 'note'] as const;

export type FactCursors = Readonly<Record<(typeof FACTS)[number], Cursor>>;

export const SECONDS: ReadonlyMap<string, number> = new Map([
  ['second', 1],
  ['minute', 60],
  ['hour', 3600],
]);

export const PER_ALLOWED = 'a unit like request, minute, 1M tokens or 1K traces';
const SCALE = new Map([
  ['', 1],
  ['K', 1000],
  ['M', 1_000_000],
]);

/** `1M tokens` is one million of the unit `token`. */
export function readPer(at: Cursor): { readonly unit: string; readonly count: number } | undefined {
  const found = at.scalar(PER_ALLOWED);
  if (!found) return undefined;
  const match = /^(?:([1-9]\d{0,8})([KM]?) )?([a-z][a-z ]{0,30}?)s?$/.exec(found.text);
  const count = Number(match?.[1] ?? 1) * (SCALE.get(match?.[2] ?? '') ?? 1);
  return match?.[3] === undefined ? at.wrong(PER_ALLOWED) : { unit: match[3], count };
}

/** `1s`, `30s`, `1m`: whole seconds. */
export function readStep(at: Cursor): number | undefined {
  const allowed = 'a step of whole seconds like 1s or 60s';
  const found = at.scalar(allowed);
  const match = found && /^([1-9]\d{0,4})s$/.exec(found.text);
  return match ? Number(match[1]) : found && at.wrong(allowed);
}
