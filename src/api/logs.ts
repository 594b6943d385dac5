import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId, isRequestId } from '../domain/ids.js';
import { readKeptFrom } from '../usage/kept.js';
import { listLogs } from '../usage/listLogs.js';
import { readLog } from '../usage/readLog.js';
import { sumLogs } from '../usage/sumLogs.js';
import { withNames } from '../usage/tokenNames.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { LogDetailSchema, logDetailOut } from './logDetail.js';
import { logExportRoute } from './logExport.js';
import { filterOf, isProblem, LogFilters, listOf } from './logQuery.js';
import { LogSchema, logOut, TotalsSchema, totalsOut } from './logShape.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, notFound } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut } from './schemas.js';

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

const Query = LogFilters.extend({ include: listOf(z.enum(['totals'])), limit: LimitQuery, cursor: CursorQuery });

const Page = pageSchema(LogSchema).extend({
  /** With `include=totals`: over the whole filter, whatever the page. */
  totals: TotalsSchema.optional(),
  /** Single requests before this are let go; totals over whole days still count them. Not there as long as none was. */
  kept_from: TimeOut.optional(),
});

/** The export stands before the single request: the first path that fits is the one that answers. */
export const logRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), logExportRoute(deps), readRoute(deps)];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: '/api/v1/orgs/{org}/logs',
    permission: 'logs.read',
    summary: 'What was asked and what it cost, newest first',
    tag: 'logs',
    params: OrgParams,
    query: Query,
    answers: { 200: { description: 'A page', schema: Page } },
    handle: async ({ params, query, reach }) => {
      const { limit, cursor, include, ...asked } = query;
      const filter = filterOf(asked, await tokensWithin(deps.db, params.org, reach));
      if (isProblem(filter)) return filter;
      const filters = ['logs', params.org, { ...filter, onlyTokens: reach.ownerId }];
      const place = cursor === undefined ? [] : cursors.read(cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const scope = { db: deps.db, orgId: params.org, filter };
      const [page, totals, keptFrom] = await Promise.all([
        listLogs({ ...scope, before: place[0] ?? null, limit }),
        include?.includes('totals') ? sumLogs(scope) : undefined,
        readKeptFrom(deps.db),
      ]);
      if (page.rows.length === 0 && !(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
      const last = page.rows.at(-1);
      return answer(200, {
        data: (await withNames(deps.db, page.rows)).map((row) => logOut(deps, row)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.request_id], filters) : null,
        ...(totals ? { totals: totalsOut(deps, totals) } : {}),
        ...(keptFrom ? { kept_from: timeOut(keptFrom) } : {}),
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/logs/{request_id}',
    permission: 'logs.read',
    summary: 'One request: its cost line by line, its hold, and which credits paid for it',
    tag: 'logs',
    params: OrgParams.extend({ request_id: idParam(isRequestId, 'req_019ab0f4c2d87c3ea1b2c3d4e5f60718') }),
    answers: { 200: { description: 'The request', schema: LogDetailSchema } },
    handle: async ({ params, reach }) => {
      const onlyTokens = await tokensWithin(deps.db, params.org, reach);
      const row = await readLog({ db: deps.db, orgId: params.org, requestId: params.request_id, onlyTokens });
      const [named] = row ? await withNames(deps.db, [row]) : [];
      return named ? answer(200, logDetailOut(deps, named)) : notFound('There is no settled request with this id.');
    },
  });
