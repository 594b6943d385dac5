import type { IncomingMessage, RequestListener } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { newRequestId } from '../domain/ids.js';
import { errorFacts } from '../telemetry/log.js';
import { auditRoutes } from './audit.js';
import { balanceRoutes } from './balance.js';
import { readBody } from './body.js';
import { codeRoutes } from './codes.js';
import { answerCompat, COMPAT_PATHS } from './compat/compat.js';
import type { ApiDeps } from './deps.js';
import { problemOf } from './errors.js';
import { eventRoutes } from './events.js';
import { grantRoutes } from './grants.js';
import { guard } from './guard.js';
import { limitRoutes } from './limits.js';
import { logRoutes } from './logs.js';
import { meterEventRoutes } from './meterEvents.js';
import { documentOf, register } from './openapi.js';
import { orgRoutes } from './orgs.js';
import { overviewRoutes } from './overview.js';
import { pricingRoutes } from './pricing.js';
import { type Problem, problemResponse, unknownPath, unreadable, wrongMethod } from './problem.js';
import { reconciliationRoutes } from './reconciliation.js';
import { redemptionRoutes } from './redemptions.js';
import { type Answer, answer, type Method, type Route, route } from './route.js';
import { tokenActionRoutes } from './tokenActions.js';
import { tokenRoutes } from './tokens.js';
import { usageBucketRoutes } from './usageBuckets.js';
import { usageDayRoutes } from './usageDay.js';
import { usageMonthRoutes } from './usageMonth.js';

/** The management API. Whatever is not in the table of routes is not there, and every row says who may use it. */
export function createApi(deps: ApiDeps): OpenAPIHono {
  const app = new OpenAPIHono();
  const routes = apiRoutes(deps);
  let made: unknown;
  const document = documentRoute(() => {
    made ??= documentOf(app);
    return made;
  });
  for (const one of [...routes, document]) {
    register(app.openAPIRegistry, one);
    app.on(one.method.toUpperCase(), honoPath(one.path), (c) => answerCall(c, one, deps));
  }
  for (const [path, methods] of methodsByPath([...routes, document])) {
    app.all(honoPath(path), (c) => sealed(problemResponse(wrongMethod(c.req.method, methods), newRequestId())));
  }
  for (const path of COMPAT_PATHS) app.all(path, (c) => answerCompat(deps, c.req.raw, addressOf(c)));
  app.notFound(() => sealed(problemResponse(unknownPath(), newRequestId())));
  app.onError((error) => failed(error, deps, newRequestId()));
  return app;
}

/** The same API as a listener of Node's HTTP server. */
export function apiListener(app: OpenAPIHono): RequestListener {
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: () => sealed(problemResponse(unreadable(), newRequestId())),
  });
  return (req, res) => {
    listener(req, res).catch(() => res.destroy());
  };
}

export const apiRoutes = (deps: ApiDeps): readonly Route[] => [
  ...orgRoutes(deps),
  ...grantRoutes(deps),
  ...balanceRoutes(deps),
  ...limitRoutes(deps),
  ...codeRoutes(deps),
  ...redemptionRoutes(deps),
  ...meterEventRoutes(deps),
  ...tokenRoutes(deps),
  ...tokenActionRoutes(deps),
  ...logRoutes(deps),
  ...usageMonthRoutes(deps),
  ...usageDayRoutes(deps),
  ...usageBucketRoutes(deps),
  ...overviewRoutes(deps),
  ...pricingRoutes(deps),
  ...eventRoutes(deps),
  ...reconciliationRoutes(deps),
  ...auditRoutes(deps),
];

const documentRoute = (make: () => unknown): Route =>
  route({
    method: 'get',
    path: '/api/v1/openapi.json',
    permission: 'public',
    summary: 'This API, as an OpenAPI 3.1 document',
    tag: 'meta',
    answers: { 200: { description: 'The document', schema: z.looseObject({ openapi: z.string() }) } },
    handle: () => answer(200, make()),
  });

async function answerCall(c: Context, one: Route, deps: ApiDeps): Promise<Response> {
  const requestId = newRequestId();
  try {
    const result = await perform(c, one, { deps, requestId });
    return sealed(result.kind === 'problem' ? problemResponse(result, requestId) : answerResponse(result, requestId));
  } catch (error) {
    return failed(error, deps, requestId);
  }
}

async function perform(c: Context, one: Route, { deps, requestId }: { deps: ApiDeps; requestId: string }): Promise<Answer | Problem> {
  const params = c.req.param() as Record<string, string>;
  const guarded = guard({
    authorization: c.req.header('authorization'),
    operatorKey: deps.operatorKey,
    permission: one.permission,
    orgId: params['org'] ?? null,
  });
  if (guarded.kind === 'problem') return guarded;
  const body = one.method === 'get' ? ({ kind: 'read', value: {} } as const) : await readBody(c.req.raw);
  if (body.kind === 'problem') return body;
  return one.respond({
    params,
    query: queryOf(c.req.url),
    body: body.value,
    headers: {
      idempotencyKey: c.req.header('idempotency-key'),
      ifMatch: c.req.header('if-match'),
      accept: c.req.header('accept'),
      lastEventId: c.req.header('last-event-id'),
    },
    actor: guarded.actor,
    requestId,
  });
}

/** Over the socket of our own gateways there is no address; they say whose request it is, and overwrite what a client says. */
function addressOf(c: Context): string | undefined {
  const { incoming } = (c.env ?? {}) as { readonly incoming?: IncomingMessage };
  return incoming?.socket.remoteAddress ?? c.req.header('x-forwarded-for');
}

function queryOf(url: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, value] of new URL(url).searchParams) found.set(name, [...(found.get(name) ?? []), value]);
  return found;
}

function answerResponse({ status, body, headers, stream }: Answer, requestId: string): Response {
  const head = { 'content-type': 'application/json; charset=utf-8', 'x-request-id': requestId, ...headers };
  return new Response(stream ?? JSON.stringify(body), { status, headers: head });
}

function failed(error: unknown, deps: ApiDeps, requestId: string): Response {
  const problem = problemOf(error);
  deps.log.error({ request_id: requestId, err: errorFacts(error) }, 'a management request failed');
  return sealed(problemResponse(problem, requestId));
}

/** What every answer carries besides its id, good or bad. */
function sealed(response: Response): Response {
  response.headers.set('cache-control', 'no-store');
  response.headers.set('x-content-type-options', 'nosniff');
  return response;
}

const honoPath = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

function methodsByPath(routes: readonly Route[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { path, method } of routes) found.set(path, [...(found.get(path) ?? []), ...named(method)]);
  return found;
}

const named = (method: Method): string[] => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]);
