import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { type BucketRow, needsRows, readBuckets } from '../usage/buckets.js';
import { readKeptFrom } from '../usage/kept.js';
import { type ApiDeps, shown } from './deps.js';
import { TotalsSchema, totalsOut } from './logShape.js';
import { noSuchOrg } from './orgs.js';
import type { Problem } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut, timeOut } from './schemas.js';
import { type DayRange, DIMENSIONS, filterOf, type GroupName, grouped, groupsOf, Range, rangeOf } from './usageQuery.js';

const ResultSchema = z.strictObject({
  object: z.literal('result'),
  /** One entry per dimension asked for; null = not stated, or the rest when `other` is true. */
  group: z.record(z.string(), z.string().nullable()),
  other: z.boolean(),
  requests: z.int(),
  errors: z.int(),
  input: z.int(),
  cached_input: z.int(),
  output: z.int(),
  cost: AmountOutSchema,
});

const BucketSchema = z.strictObject({
  object: z.literal('bucket'),
  start_time: z.int(),
  end_time: z.int(),
  date: z.iso.date(),
  results: z.array(ResultSchema),
});

const PageSchema = z
  .strictObject({
    object: z.literal('page'),
    data: z.array(BucketSchema),
    has_more: z.boolean(),
    next_page: z.string().nullable(),
    totals: TotalsSchema,
    range: z.strictObject({ from: z.string(), to: z.string() }),
    time_zone: z.string(),
    /** Where single requests have to be read: those before this are let go, and not in here. */
    kept_from: TimeOut.optional(),
  })
  .openapi('UsagePage');

export type BucketOut = z.input<typeof BucketSchema>;

export const usageBucketRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/usage',
    permission: 'usage.read',
    summary: 'What was used, by time and by up to two groups',
    tag: 'usage',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    query: grouped({ usual: 10, most: 50 }).extend(Range),
    answers: { 200: { description: 'Buckets, oldest first', schema: PageSchema } },
    handle: async ({ params, query, reach }) => {
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const onlyTokens = await tokensWithin(deps.db, params.org, reach);
      const found = await bucketsOf(deps, { orgId: params.org, timeZone: org.time_zone, query, onlyTokens });
      if ('kind' in found) return found;
      const { data, total, range, keptFrom } = found;
      const fixed = { object: 'page', has_more: false, next_page: null, time_zone: org.time_zone } as const;
      return answer(200, { ...fixed, data, totals: totalsOut(deps, total), range, ...(keptFrom ? { kept_from: timeOut(keptFrom) } : {}) });
    },
  }),
];

export interface BucketsAsked {
  readonly orgId: OrgId;
  readonly timeZone: string;
  readonly query: z.output<ReturnType<typeof grouped>> & DayRange;
  readonly onlyTokens: readonly string[] | null;
}

/** The buckets as the page and the export show them. */
export async function bucketsOf(deps: ApiDeps, { orgId, timeZone, query, onlyTokens }: BucketsAsked) {
  const names = groupsOf(query.group_by);
  if ('kind' in names) return names satisfies Problem;
  const groupBy = names.map((name) => DIMENSIONS[name]);
  const { bucket: width, measure, top } = query;
  const filter = filterOf(query, onlyTokens);
  const fromRows = needsRows({ width, groupBy, filter });
  const range = rangeOf(query, timeZone, fromRows);
  if ('kind' in range) return range satisfies Problem;
  const [rows, keptFrom] = await Promise.all([
    readBuckets(deps.db, { orgId, width, ...range, groupBy, measure, top, filter }),
    fromRows ? readKeptFrom(deps.db) : null,
  ]);
  const total = rows.find((row) => row.starts_at === null);
  if (!total) throw new Error('an answer without its total');
  return { data: dataOut(deps, rows, names), total, range, names, keptFrom };
}

function dataOut(deps: ApiDeps, rows: readonly BucketRow[], names: readonly GroupName[]): BucketOut[] {
  const buckets = new Map<number, BucketOut>();
  for (const { starts_at, ends_at, date, groups, is_other: other, ...sums } of rows) {
    if (starts_at === null || ends_at === null || date === null) continue;
    const start_time = starts_at.getTime() / 1000;
    const bucket = buckets.get(start_time) ?? { object: 'bucket', start_time, end_time: ends_at.getTime() / 1000, date, results: [] };
    const group = Object.fromEntries(names.map((name, index) => [name, groups[index] ?? null]));
    const { requests, errors, input, cached_input, output, cost } = sums;
    bucket.results.push({ object: 'result', group, other, requests, errors, input, cached_input, output, cost: shown(deps, cost) });
    buckets.set(start_time, bucket);
  }
  return [...buckets.values()];
}
