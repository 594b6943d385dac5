import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId, isTokenId } from '../domain/ids.js';
import { type BucketRow, type BucketWidth, type Dimension, needsRows, readBuckets } from '../usage/buckets.js';
import { STORABLE } from './body.js';
import { type ApiDeps, shown } from './deps.js';
import { listOf } from './logQuery.js';
import { TotalsSchema, totalsOut } from './logShape.js';
import { noSuchOrg } from './orgs.js';
import { invalid, type Problem } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema } from './schemas.js';

const DIMENSIONS = [
  'model',
  'endpoint',
  'token',
  'project',
  'member',
  'agent',
  'conversation',
  'end_user',
  'upstream',
] as const satisfies readonly Dimension[];
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

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

const PageSchema = z
  .strictObject({
    object: z.literal('page'),
    data: z.array(
      z.strictObject({
        object: z.literal('bucket'),
        start_time: z.int(),
        end_time: z.int(),
        date: z.iso.date(),
        results: z.array(ResultSchema),
      }),
    ),
    has_more: z.boolean(),
    next_page: z.string().nullable(),
    totals: TotalsSchema,
    range: z.strictObject({ from: z.string(), to: z.string() }),
    time_zone: z.string(),
  })
  .openapi('UsagePage');

const When = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], 'Write a day as 2026-11-20, or a time as 2026-11-20T00:00:00Z.')
  .refine((value) => value >= '2000' && value < '3000', 'A year from 2000 on.');
const named = z.string().min(1, 'Write a name.').max(256).regex(STORABLE, 'Nothing has such a name.');

const Query = z.strictObject({
  from: When,
  to: When,
  bucket: z.enum(['1h', '1d', '1w', '1M']).default('1d'),
  group_by: listOf(z.enum([...DIMENSIONS, 'action'])),
  measure: z.enum(['cost', 'requests', 'tokens', 'errors']).default('cost'),
  top: z
    .string()
    .regex(/^(?:[1-9]|[1-4]\d|50)$/, 'A number from 1 to 50.')
    .transform(Number)
    .default(10)
    .openapi({ type: 'integer', minimum: 1, maximum: 50, default: 10 }),
  model: listOf(named),
  token_id: listOf(z.string().refine(isTokenId, 'A token id looks like tok_07Ab12Cd34Ef56.')),
  endpoint: listOf(named),
  agent: listOf(named),
  conversation: listOf(named),
  end_user: listOf(named),
});

export const usageBucketRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/usage',
    permission: 'usage.read',
    summary: 'What was used, by time and by up to two groups',
    tag: 'usage',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    query: Query,
    answers: { 200: { description: 'Buckets, oldest first', schema: PageSchema } },
    handle: async ({ params, query, reach }) => {
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const groupBy = [...new Set((query.group_by ?? []).map((one) => (one === 'action' ? 'endpoint' : one)))];
      const filter = {
        onlyTokens: await tokensWithin(deps.db, params.org, reach),
        models: query.model ?? [],
        tokenIds: query.token_id ?? [],
        endpoints: query.endpoint ?? [],
        agents: query.agent ?? [],
        conversations: query.conversation ?? [],
        endUsers: query.end_user ?? [],
      };
      const range = rangeOf(query, org.time_zone, needsRows({ width: query.bucket, groupBy, filter }));
      if ('kind' in range) return range;
      if (groupBy.length > 2) return invalid([{ pointer: '?group_by', code: 'too_many', message: 'At most two dimensions.' }]);
      const { measure, top } = query;
      const rows = await readBuckets(deps.db, { orgId: params.org, width: query.bucket, ...range, groupBy, measure, top, filter });
      return answer(200, pageOut(deps, { rows, groupBy, range, timeZone: org.time_zone }));
    },
  }),
];

/** How many buckets one answer may have; finer than days only for a week, from single rows only for a quarter. */
const DAYS_MAX: Readonly<Record<BucketWidth, number>> = { '1h': 7, '1d': 366, '1w': 740, '1M': 1_830 };
const DAYS_FROM_ROWS_MAX = 92;

interface Asked {
  readonly from: string;
  readonly to: string;
  readonly bucket: BucketWidth;
}

function rangeOf({ from, to, bucket }: Asked, timeZone: string, fromRows: boolean): { from: string; to: string } | Problem {
  const range =
    bucket === '1h'
      ? { from: momentOf(from, timeZone), to: momentOf(to, timeZone) }
      : {
          from: from.length === 10 ? from : dayAt(Date.parse(from), timeZone),
          to: to.length === 10 ? to : dayAfter(dayAt(Date.parse(to) - 1, timeZone)),
        };
  const length = (Date.parse(range.to) - Date.parse(range.from)) / DAY_MS;
  if (!(length > 0)) return invalid([{ pointer: '?to', code: 'not_after_from', message: '`to` must be later than `from`.' }]);
  const most = fromRows ? Math.min(DAYS_MAX[bucket], DAYS_FROM_ROWS_MAX) : DAYS_MAX[bucket];
  if (length > most)
    return invalid([
      { pointer: '?to', code: 'too_long', message: `At most ${most} days with these buckets and groups; found ${Math.ceil(length)}.` },
    ]);
  return range;
}

const daysIn = (timeZone: string): Intl.DateTimeFormat => new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' });

/** The day a moment lies in, there. */
const dayAt = (ms: number, timeZone: string): string => daysIn(timeZone).format(new Date(ms));
const dayAfter = (day: string): string => new Date(Date.parse(day) + DAY_MS).toISOString().slice(0, 10);

/** A day is meant from its first moment there; no clock on earth is set in steps finer than a quarter of an hour. */
function momentOf(text: string, timeZone: string): string {
  if (text.length > 10) return new Date(text).toISOString();
  const days = daysIn(timeZone);
  let at = Date.parse(text) - 14 * HOUR_MS;
  while (days.format(new Date(at)) < text) at += HOUR_MS / 4;
  return new Date(at).toISOString();
}

interface Found {
  readonly rows: readonly BucketRow[];
  readonly groupBy: readonly Dimension[];
  readonly range: { readonly from: string; readonly to: string };
  readonly timeZone: string;
}

function pageOut(deps: ApiDeps, { rows, groupBy, range, timeZone }: Found): z.input<typeof PageSchema> {
  const buckets = new Map<number, z.input<typeof PageSchema>['data'][number]>();
  const total = rows.find((row) => row.starts_at === null);
  if (!total) throw new Error('an answer without its total');
  for (const { starts_at, ends_at, date, groups, is_other, cost, ...sums } of rows) {
    if (starts_at === null || ends_at === null || date === null) continue;
    const start_time = starts_at.getTime() / 1000;
    const bucket = buckets.get(start_time) ?? { object: 'bucket', start_time, end_time: ends_at.getTime() / 1000, date, results: [] };
    const group = Object.fromEntries(groupBy.map((name, index) => [name, groups[index] ?? null]));
    bucket.results.push({ object: 'result', group, other: is_other, ...sums, cost: shown(deps, cost) });
    buckets.set(start_time, bucket);
  }
  return {
    object: 'page',
    data: [...buckets.values()],
    has_more: false,
    next_page: null,
    totals: totalsOut(deps, total),
    range,
    time_zone: timeZone,
  };
}
