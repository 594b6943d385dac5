import type { OrgId } from '../../domain/ids.js';
import { ALL_USAGE, type BucketRow, type Dimension, type Extra, readBuckets, type UsageFilter } from '../../usage/buckets.js';
import { readSlots, type Slot } from '../../usage/slots.js';
import { createCursors } from '../cursor.js';
import type { ApiDeps } from '../deps.js';
import { dayAfter, dayAt } from '../usageQuery.js';
import { type CompatError, refusal } from './identify.js';

/** Whose usage is meant. */
export interface Scope {
  readonly orgId: OrgId;
  readonly timeZone: string;
  /** null = of all tokens. */
  readonly onlyTokens: readonly string[] | null;
}

/** What one path knows of OpenAI's questions about usage. */
export interface PageTerms {
  readonly widths: Readonly<Partial<Record<Width, { readonly usual: number; readonly most: number }>>>;
  /** Names of groups; null: accepted, and the same for all there is. */
  readonly groups: Readonly<Record<string, Dimension | null>>;
  readonly filters: readonly FilterName[];
  /** Which endpoints it is about; null = everything that is charged, none = nothing that is sold here. */
  readonly endpoints: readonly string[] | null;
  readonly extras?: readonly Extra[];
}

export type Width = '1m' | '1h' | '1d';

const FILTERS = { project_ids: 'projects', user_ids: 'members', api_key_ids: 'tokenIds', models: 'models' } as const;
export type FilterName = keyof typeof FILTERS;

export interface Page {
  readonly slots: readonly (Slot & { readonly rows: readonly BucketRow[] })[];
  readonly next: string | null;
  /** As they were asked for. */
  readonly groups: readonly string[];
  groupOf(row: BucketRow, group: string): string | null;
}

const GROUPS_MAX = 1_000;
const STEP_MS: Readonly<Record<Width, number>> = { '1m': 60_000, '1h': 3_600_000, '1d': 86_400_000 };

/** Whole buckets, empty ones too, as many as one page may have; the bucket that `start_time` lies in is the first. */
export async function pageOf(deps: ApiDeps, scope: Scope, query: URLSearchParams, terms: PageTerms): Promise<Page | CompatError> {
  const asked = askedIn(query, terms, deps.clock.nowMs());
  if ('kind' in asked) return asked;
  const { width, groups, filter, limit } = asked;
  const cursors = createCursors(deps.pepper);
  const place = [scope.orgId, scope.onlyTokens, [...query].filter(([name]) => name !== 'page')];
  const from = placeIn(query.get('page'), (cursor) => cursors.read(cursor, place), pointOf(asked.startMs, width, scope.timeZone));
  if (typeof from !== 'string') return from;
  // One slot more than the page has says whether there is another page; clocks that are set back make a day longer.
  const soonest = Math.min(asked.endMs, Date.parse(from) + (limit + 3) * STEP_MS[width]);
  const to = width === '1d' ? dayAfter(dayAt(soonest - 1, scope.timeZone)) : new Date(soonest).toISOString();
  const found = from < to ? await readSlots(deps.db, { orgId: scope.orgId, width, from, to, limit: limit + 1 }) : [];
  const slots = found.slice(0, limit);
  const rest = found[limit];
  const dimensions = [...new Set(groups.flatMap((name) => terms.groups[name] ?? []))];
  const rows =
    terms.endpoints?.length === 0 || asked.isNothing ? [] : await rowsOf(deps, { scope, slots, width, dimensions, filter, terms });
  const bySlot = new Map<number, BucketRow[]>();
  for (const row of rows) if (row.starts_at) bySlot.set(row.starts_at.getTime(), [...(bySlot.get(row.starts_at.getTime()) ?? []), row]);
  return {
    slots: slots.map((slot) => ({ ...slot, rows: bySlot.get(slot.startsAt.getTime()) ?? [] })),
    next: rest === undefined ? null : cursors.make([rest.from], place),
    groups,
    groupOf: (row, group) => {
      const dimension = groups.includes(group) ? terms.groups[group] : undefined;
      return dimension ? (row.groups[dimensions.indexOf(dimension)] ?? null) : null;
    },
  };
}

interface Rows {
  readonly scope: Scope;
  readonly slots: readonly Slot[];
  readonly width: Width;
  readonly dimensions: readonly Dimension[];
  readonly filter: UsageFilter;
  readonly terms: PageTerms;
}

async function rowsOf({ db }: ApiDeps, { scope, slots, width, dimensions, filter, terms }: Rows): Promise<readonly BucketRow[]> {
  const [first, last] = [slots[0], slots.at(-1)];
  if (!first || !last) return [];
  return readBuckets(db, {
    orgId: scope.orgId,
    width,
    from: first.from,
    to: width === '1d' ? dayAfter(last.from) : last.endsAt.toISOString(),
    groupBy: dimensions,
    measure: 'cost',
    top: GROUPS_MAX,
    filter: { ...filter, onlyTokens: scope.onlyTokens, endpoints: terms.endpoints ?? [] },
    ...(terms.extras ? { extras: terms.extras } : {}),
  });
}

interface Asked {
  readonly width: Width;
  readonly startMs: number;
  readonly endMs: number;
  readonly limit: number;
  readonly groups: readonly string[];
  readonly filter: UsageFilter;
  /** Narrowed to what there is none of. */
  readonly isNothing: boolean;
}

function askedIn(query: URLSearchParams, terms: PageTerms, nowMs: number): Asked | CompatError {
  const widths = Object.keys(terms.widths);
  const width = query.get('bucket_width') ?? '1d';
  const lengths = terms.widths[width as Width];
  if (!lengths) return refusal(400, 'invalid_bucket_width', `bucket_width is ${orOf(widths)}.`, 'bucket_width');
  const groups = [...new Set(valuesOf(query, 'group_by'))];
  if (groups.some((one) => !Object.hasOwn(terms.groups, one)))
    return refusal(400, 'invalid_group_by', `group_by is ${orOf(Object.keys(terms.groups))}.`, 'group_by');
  const limit = query.get('limit') === null ? lengths.usual : numberOf(query.get('limit'));
  if (!(limit >= 1 && limit <= lengths.most))
    return refusal(400, 'invalid_limit', `limit is a number from 1 to ${lengths.most} with this bucket_width.`, 'limit');
  const end = query.get('end_time') === null ? Math.ceil(nowMs / 1000) : numberOf(query.get('end_time'));
  // Without a start: as many as one page has, the last of them the one that runs.
  const usual = Math.max(1, ((limit - 1) * STEP_MS[width as Width]) / 1000);
  const start = query.get('start_time') === null ? Math.max(0, end - usual) : numberOf(query.get('start_time'));
  if (Number.isNaN(start) || Number.isNaN(end))
    return refusal(400, 'invalid_time', 'start_time and end_time are seconds since 1970.', Number.isNaN(start) ? 'start_time' : 'end_time');
  if (!(start < end)) return refusal(400, 'invalid_range', 'end_time must be later than start_time.', 'end_time');
  const narrowed = filterIn(query, terms);
  if ('kind' in narrowed) return narrowed;
  return { width: width as Width, startMs: start * 1000, endMs: Math.min(end * 1000, nowMs + 1), limit, groups, ...narrowed };
}

const UNKNOWN_FILTERS = ['sizes', 'sources', 'vector_store_ids', 'context_levels'];

/** A filter that cannot be followed would make figures that are not what their reader believes. */
function filterIn(query: URLSearchParams, terms: PageTerms): Pick<Asked, 'filter' | 'isNothing'> | CompatError {
  const given = (name: string): readonly string[] => valuesOf(query, name);
  const known = Object.keys(FILTERS) as FilterName[];
  const wrong = [...UNKNOWN_FILTERS, ...known.filter((name) => !terms.filters.includes(name))].find((name) => given(name).length > 0);
  if (wrong !== undefined)
    return refusal(400, 'invalid_filter', `Usage cannot be narrowed by ${wrong} here. Use ${orOf(terms.filters)}.`, wrong);
  const tooLong = terms.filters.find(
    (name) => given(name).length > 50 || given(name).some((one) => one.length > 256 || one.includes('\u0000')),
  );
  if (tooLong !== undefined) return refusal(400, 'invalid_filter', 'A filter has at most 50 values of up to 256 characters.', tooLong);
  const lists = Object.fromEntries(terms.filters.map((name) => [FILTERS[name], given(name)]));
  return { filter: { ...ALL_USAGE, ...lists }, isNothing: query.get('batch') === 'true' };
}

/** As SDKs write lists: `name[]=a&name[]=b`, `name=a&name=b` or `name=a,b`. */
const valuesOf = (query: URLSearchParams, name: string): string[] =>
  [...query.getAll(name), ...query.getAll(`${name}[]`)].flatMap((one) => one.split(',')).filter((one) => one !== '');

const numberOf = (text: string | null): number => (/^\d{1,11}$/.test(text ?? '') ? Number(text) : Number.NaN);

const orOf = (names: readonly string[]): string => [names.slice(0, -1).join(', '), names.at(-1)].filter((one) => one).join(' or ');

const pointOf = (ms: number, width: Width, timeZone: string): string => (width === '1d' ? dayAt(ms, timeZone) : new Date(ms).toISOString());

function placeIn(cursor: string | null, read: (cursor: string) => readonly string[] | string, first: string): string | CompatError {
  if (cursor === null || cursor === '') return first;
  const place = read(cursor);
  if (typeof place !== 'string' && place[0] !== undefined) return place[0];
  return refusal(400, 'invalid_page', 'page is the next_page of the answer before, with everything else as it was.', 'page');
}
