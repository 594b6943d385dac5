import { z } from '@hono/zod-openapi';
import { isTokenId } from '../domain/ids.js';
import type { BucketWidth, Dimension, UsageFilter } from '../usage/buckets.js';
import { STORABLE } from './body.js';
import { listOf } from './logQuery.js';
import { invalid, type Problem } from './problem.js';

/** What the pages of usage and their export ask in the same words. */

/** As people say it, and as the books have it. */
export const DIMENSIONS = {
  model: 'model',
  action: 'endpoint',
  endpoint: 'endpoint',
  token: 'token',
  project: 'project',
  member: 'member',
  agent: 'agent',
  conversation: 'conversation',
  end_user: 'end_user',
  provider: 'upstream',
  upstream: 'upstream',
} as const satisfies Readonly<Record<string, Dimension>>;
export type GroupName = keyof typeof DIMENSIONS;

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

const When = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], 'Write a day as 2026-11-20, or a time as 2026-11-20T00:00:00Z.')
  .refine((value) => value >= '2000' && value < '3000', 'A year from 2000 on.');
const named = z.string().min(1, 'Write a name.').max(256).regex(STORABLE, 'Nothing has such a name.');

/** What a day's lines can be narrowed by. */
export const DayFilters = z.strictObject({
  token_id: listOf(z.string().refine(isTokenId, 'A token id looks like tok_07Ab12Cd34Ef56.')),
  agent: listOf(named),
  conversation: listOf(named),
});

export const UsageFilters = DayFilters.extend({
  model: listOf(named),
  endpoint: listOf(named),
  end_user: listOf(named),
  project: listOf(named),
  member: listOf(named),
  upstream: listOf(named),
});

const GROUPS_MAX = 2;

/** `most` groups have a line of their own; all others become one. */
export const grouped = ({ usual, most }: { readonly usual: number; readonly most: number }) =>
  UsageFilters.extend({
    bucket: z.enum(['1h', '1d', '1w', '1M']).default('1d'),
    group_by: listOf(z.enum(Object.keys(DIMENSIONS) as [GroupName, ...GroupName[]])),
    measure: z.enum(['cost', 'requests', 'tokens', 'errors']).default('cost'),
    top: z
      .string()
      .regex(/^[1-9]\d{0,3}$/, `A number from 1 to ${most}.`)
      .transform(Number)
      .refine((value) => value <= most, `A number from 1 to ${most}.`)
      .default(usual)
      .openapi({ type: 'integer', minimum: 1, maximum: most, default: usual }),
  });

export const Range = { from: When, to: When };

export function filterOf(query: z.output<typeof UsageFilters>, onlyTokens: UsageFilter['onlyTokens']): UsageFilter {
  return {
    onlyTokens,
    models: query.model ?? [],
    tokenIds: query.token_id ?? [],
    endpoints: query.endpoint ?? [],
    agents: query.agent ?? [],
    conversations: query.conversation ?? [],
    endUsers: query.end_user ?? [],
    upstreams: query.upstream ?? [],
    projects: query.project ?? [],
    members: query.member ?? [],
  };
}

/** The names as they were asked for, each dimension once. */
export function groupsOf(asked: readonly GroupName[] | undefined): readonly GroupName[] | Problem {
  const once = new Map((asked ?? []).map((name) => [DIMENSIONS[name], name]));
  const tooMany = { pointer: '?group_by', code: 'too_many', message: 'At most two dimensions.' };
  return once.size > GROUPS_MAX ? invalid([tooMany]) : [...once.values()];
}

/** How many days one answer may span; finer than days only a week, from single rows only a quarter. */
const DAYS_MAX: Readonly<Record<BucketWidth, number>> = { '1m': 1, '1h': 7, '1d': 366, '1w': 740, '1M': 1_830 };
const DAYS_FROM_ROWS_MAX = 92;

export interface AskedRange {
  readonly from: string;
  readonly to: string;
  readonly bucket: BucketWidth;
}

export interface DayRange {
  readonly from: string;
  readonly to: string;
}

export function rangeOf({ from, to, bucket }: AskedRange, timeZone: string, fromRows: boolean): DayRange | Problem {
  const range = bucket === '1h' ? { from: momentOf(from, timeZone), to: momentOf(to, timeZone) } : daysOf({ from, to }, timeZone);
  return checked(range, fromRows ? Math.min(DAYS_MAX[bucket], DAYS_FROM_ROWS_MAX) : DAYS_MAX[bucket]);
}

/** Whole days of the organization; a moment means the day it lies in. */
export const daysOf = ({ from, to }: DayRange, timeZone: string): DayRange => ({
  from: from.length === 10 ? from : dayAt(Date.parse(from), timeZone),
  to: to.length === 10 ? to : dayAfter(dayAt(Date.parse(to) - 1, timeZone)),
});

export function checked(range: DayRange, most: number): DayRange | Problem {
  const length = (Date.parse(range.to) - Date.parse(range.from)) / DAY_MS;
  if (!(length > 0)) return invalid([{ pointer: '?to', code: 'not_after_from', message: '`to` must be later than `from`.' }]);
  const found = Math.ceil(length);
  const message = `At most ${most} days with these buckets and groups; found ${found}.`;
  return length > most ? invalid([{ pointer: '?to', code: 'too_long', message }]) : range;
}

const daysIn = (timeZone: string): Intl.DateTimeFormat => new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' });

/** The day a moment lies in, there. */
export const dayAt = (ms: number, timeZone: string): string => daysIn(timeZone).format(new Date(ms));
export const dayAfter = (day: string): string => new Date(Date.parse(day) + DAY_MS).toISOString().slice(0, 10);

/** A day is meant from its first moment there; no clock on earth is set in steps finer than a quarter of an hour. */
function momentOf(text: string, timeZone: string): string {
  if (text.length > 10) return new Date(text).toISOString();
  const days = daysIn(timeZone);
  let at = Date.parse(text) - 14 * HOUR_MS;
  while (days.format(new Date(at)) < text) at += HOUR_MS / 4;
  return new Date(at).toISOString();
}
