import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { readDay } from '../usage/day.js';
import { readMonth } from '../usage/month.js';
import { asLongAsAllowed, createAccess } from './access.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { invalid, type Problem } from './problem.js';
import { idParam, type Route, route, streamed } from './route.js';
import { textStream } from './table.js';
import { type BucketOut, bucketsOf } from './usageBuckets.js';
import { itemsOf } from './usageDay.js';
import { type DayOut, dayOut, MonthQuery } from './usageMonth.js';
import { checked, type DayRange, dayAfter, dayAt, daysOf, filterOf, grouped, Range } from './usageQuery.js';
import { dayColumns, type GroupRow, groupColumns, type ItemRow, itemColumns, type Sheet, sheetOf, type Watched } from './usageSheets.js';

const Query = grouped({ usual: 1_000, most: 1_000 }).extend({
  view: z.enum(['daily', 'items', 'group']).default('daily'),
  format: z.enum(['csv', 'ndjson']).default('csv'),
  month: MonthQuery,
  from: Range.from.optional(),
  to: Range.to.optional(),
});

/** The same queries as behind the pages, so a file says what they say. */
export function usageExportRoutes(deps: ApiDeps): readonly Route[] {
  const access = createAccess(deps);
  return [
    route({
      method: 'get',
      path: '/api/v1/orgs/{org}/usage/export',
      permission: 'usage.read',
      summary: 'Days, their lines, or groups as CSV or NDJSON',
      tag: 'usage',
      params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
      query: Query,
      answers: { 200: { description: 'The file', schema: z.string(), type: 'text/csv' } },
      handle: async (call) => {
        const { params, query, reach } = call;
        const org = await readOrg({ ctx: deps, orgId: params.org });
        if (!org) return noSuchOrg();
        const onlyTokens = await tokensWithin(deps.db, params.org, reach);
        const asked = { orgId: params.org, timeZone: org.time_zone, query, onlyTokens };
        const range = wanted(deps, asked);
        if ('kind' in range) return range;
        const sheet = await VIEWS[query.view](deps, { ...asked, range });
        if ('kind' in sheet) return sheet;
        const follower = access.follow(call);
        const watched: Watched = (pages) => asLongAsAllowed(follower, pages);
        const name = `usage-${query.view}-${params.org}-${range.from.slice(0, 10)}`;
        const file = { 'content-disposition': `attachment; filename="${name}.${query.format}"` };
        if (query.format === 'ndjson') return streamed('application/x-ndjson', textStream(sheet.ndjson(watched)), file);
        return streamed('text/csv; charset=utf-8', textStream(sheet.csv(watched)), file);
      },
    }),
  ];
}

interface Asked {
  readonly orgId: OrgId;
  readonly timeZone: string;
  readonly query: z.output<typeof Query>;
  readonly onlyTokens: readonly string[] | null;
}

/** A month, two ends, or the month that runs until today. */
function wanted(deps: ApiDeps, { query, timeZone }: Asked): DayRange | Problem {
  const { month, from, to } = query;
  const wrong = (pointer: string, code: string, message: string): Problem => invalid([{ pointer, code, message }]);
  if (month !== undefined && (from ?? to) !== undefined) return wrong('?month', 'contradiction', 'Name a month, or `from` and `to`.');
  if (from !== undefined && to !== undefined) return { from, to };
  if ((from ?? to) !== undefined) return wrong(from === undefined ? '?from' : '?to', 'missing', 'Name both ends, or a month.');
  const today = dayAt(deps.clock.nowMs(), timeZone);
  if (month === undefined) return { from: `${today.slice(0, 7)}-01`, to: dayAfter(today) };
  return { from: `${month}-01`, to: `${monthAfter(month)}-01` };
}

const monthAfter = (month: string): string =>
  new Date(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5)), 1)).toISOString().slice(0, 7);

type View = (deps: ApiDeps, asked: Asked & { readonly range: DayRange }) => Promise<Sheet | Problem>;

const VIEWS: Readonly<Record<z.output<typeof Query>['view'], View>> = {
  daily: async (deps, { range, ...asked }) => {
    const days = narrowed(asked, []) ?? checked(daysOf(range, asked.timeZone), DAYS_MAX);
    return 'kind' in days ? days : sheetOf(dayColumns(deps, asked.timeZone), daily(deps, asked, days));
  },
  items: async (deps, { range, ...asked }) => {
    const days = narrowed(asked, ['token_id', 'agent', 'conversation']) ?? checked(daysOf(range, asked.timeZone), DAYS_OF_LINES_MAX);
    return 'kind' in days ? days : sheetOf(itemColumns(deps, asked.timeZone), items(deps, asked, days));
  },
  group: async (deps, { range, query, ...asked }) => {
    const found = await bucketsOf(deps, { ...asked, query: { ...query, ...range } });
    if ('kind' in found) return found;
    return sheetOf(groupColumns(deps, { timeZone: asked.timeZone, names: found.names }), groups(found.data));
  },
};

const DAYS_MAX = 1_830;
const DAYS_OF_LINES_MAX = 366;

const NARROWING = [
  'model',
  'token_id',
  'endpoint',
  'agent',
  'conversation',
  'end_user',
  'project',
  'member',
  'upstream',
  'group_by',
] as const;

/** A filter that a view does not know would make a file that is not what its reader believes. */
function narrowed({ query }: Asked, known: readonly (typeof NARROWING)[number][]): Problem | undefined {
  const others = NARROWING.filter((name) => query[name] !== undefined && !known.includes(name));
  if (others.length === 0) return undefined;
  const message = `The view ${query.view} cannot be narrowed by this; use view=group.`;
  return invalid(others.map((name) => ({ pointer: `?${name}`, code: 'not_in_this_view', message })));
}

/** Month by month, oldest day first. */
async function* daily(deps: ApiDeps, { orgId, onlyTokens }: Asked, { from, to }: DayRange): AsyncGenerator<readonly DayOut[]> {
  const nowMs = deps.clock.nowMs();
  for (let month = from.slice(0, 7); `${month}-01` < to; month = monthAfter(month)) {
    const read = await readMonth({ db: deps.db, orgId, month, nowMs, onlyTokens });
    const days = [...(read?.days ?? [])].reverse().filter(({ date }) => date >= from && date < to);
    yield days.map((day) => dayOut(deps, day));
  }
}

/** Day by day. */
async function* items(deps: ApiDeps, { orgId, query, onlyTokens }: Asked, { from, to }: DayRange): AsyncGenerator<readonly ItemRow[]> {
  const filter = filterOf(query, onlyTokens);
  for (let date = from; date < to; date = dayAfter(date)) {
    const day = await readDay({ db: deps.db, orgId, date, filter });
    yield day ? itemsOf(deps, day).map((item) => ({ date, ...item })) : [];
  }
}

async function* groups(data: readonly BucketOut[]): AsyncGenerator<readonly GroupRow[]> {
  for (const { date, start_time, end_time, results } of data)
    yield results.map(({ object: _, ...result }) => ({ date, start_time, end_time, ...result }));
}
