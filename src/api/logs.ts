import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import type { RequestStatus } from '../domain/charge.js';
import { isOrgId, isRequestId, isTokenId } from '../domain/ids.js';
import { listLogs } from '../usage/listLogs.js';
import type { LogRow } from '../usage/logRow.js';
import { readLog } from '../usage/readLog.js';
import { STORABLE } from './body.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, invalid, notFound } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeIn, TimeOut, timeOut } from './schemas.js';

const STATUSES = ['complete', 'partial', 'cancelled', 'orphaned', 'failed', 'rejected'] as const satisfies readonly RequestStatus[];

const LogSchema = z
  .strictObject({
    request_id: z.string(),
    time: TimeOut,
    model: z.string(),
    token_id: z.string(),
    status: z.enum(STATUSES),
    stream: z.boolean(),
    debt: z.boolean(),
    source: z.enum(['upstream', 'estimated']),
    usage: z.strictObject({ input: z.int(), cached_input: z.int(), output: z.int(), reasoning: z.int() }),
    charged: AmountOutSchema,
    price_version: z.string(),
    held: AmountOutSchema,
    breakdown: z.strictObject({
      lines: z.array(z.strictObject({ meter: z.string(), quantity: z.number(), rate: z.string() })),
      times: z.string(),
    }),
    served_model: z.string(),
    upstream: z.string(),
    endpoint: z.string(),
    http_status: z.int(),
    attempts: z.int(),
    latency_ms: z.int(),
    ttft_ms: z.int().nullable(),
    client_request_id: z.string().nullable(),
    finish_reason: z.string().nullable(),
    flags: z.array(z.string()),
  })
  .openapi('LogRow');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

/** Repeated parameters or commas. */
const listOf = <Item extends string>(item: z.ZodType<Item, string>) =>
  z
    .union([z.string(), z.array(z.string())])
    .transform((value) => [value].flat().flatMap((one) => one.split(',')))
    .pipe(z.array(item).max(50, 'At most 50 values.'))
    .optional()
    .openapi({ type: 'string', description: 'One or more, separated by commas.' });

const Query = z.strictObject({
  from: TimeIn.optional(),
  to: TimeIn.optional(),
  model: listOf(z.string().min(1, 'Name a model.').max(256).regex(STORABLE, 'No model has such a name.')),
  token_id: listOf(z.string().refine(isTokenId, 'A token id looks like tok_07Ab12Cd34Ef56.')),
  status: listOf(z.enum(STATUSES)),
  limit: LimitQuery,
  cursor: CursorQuery,
});

export const logRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), readRoute(deps)];

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
    answers: { 200: { description: 'A page', schema: pageSchema(LogSchema) } },
    handle: async ({ params, query, actor: _actor }) => {
      const { limit, cursor, from, to } = query;
      if (from && to && from >= to)
        return invalid([{ pointer: '?to', code: 'not_after_from', message: '`to` must be later than `from`.' }]);
      const filters = ['logs', params.org, from ?? null, to ?? null, query.model ?? [], query.token_id ?? [], query.status ?? []];
      const place = cursor === undefined ? [] : cursors.read(cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const filter = {
        fromMs: from === undefined ? null : Date.parse(from),
        toMs: to === undefined ? null : Date.parse(to),
        models: query.model ?? [],
        tokenIds: query.token_id ?? [],
        statuses: query.status ?? [],
      };
      const page = await listLogs({ db: deps.db, orgId: params.org, filter, before: place[0] ?? null, limit });
      if (page.rows.length === 0 && !(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((row) => logOut(deps, row)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.request_id], filters) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/logs/{request_id}',
    permission: 'logs.read',
    summary: 'One request',
    tag: 'logs',
    params: OrgParams.extend({ request_id: idParam(isRequestId, 'req_019ab0f4c2d87c3ea1b2c3d4e5f60718') }),
    answers: { 200: { description: 'The request', schema: LogSchema } },
    handle: async ({ params }) => {
      const row = await readLog({ db: deps.db, orgId: params.org, requestId: params.request_id });
      return row ? answer(200, logOut(deps, row)) : notFound('There is no settled request with this id.');
    },
  });

function logOut(deps: ApiDeps, row: LogRow): z.input<typeof LogSchema> {
  return {
    request_id: row.request_id,
    time: timeOut(row.ts),
    model: row.model,
    token_id: row.token_id,
    status: row.status,
    stream: row.stream,
    debt: row.debt,
    source: row.source,
    usage: { input: row.input, cached_input: row.cached_input, output: row.output, reasoning: row.reasoning },
    charged: shown(deps, row.cost),
    price_version: row.price_version,
    held: shown(deps, row.held),
    breakdown: {
      lines: row.breakdown.lines.map(({ meter, quantity, rate }) => ({ meter, quantity, rate })),
      times: row.breakdown.times,
    },
    served_model: row.served_model,
    upstream: row.upstream,
    endpoint: row.endpoint,
    http_status: row.http_status,
    attempts: row.attempts,
    latency_ms: row.latency_ms,
    ttft_ms: row.ttft_ms,
    client_request_id: row.client_request_id,
    finish_reason: row.finish_reason,
    flags: [...row.flags],
  };
}
