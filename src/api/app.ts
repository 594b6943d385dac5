import type { RequestListener } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { OpenAPIHono, z } from '@hono/zod-openapi';
import { newRequestId } from '../domain/ids.js';
import { adminLedgerRoutes } from './adminLedger.js';
import { adminOverviewRoutes } from './adminOverview.js';
import { adminPriceRoutes } from './adminPrices.js';
import { asideRoutes } from './aside.js';
import { auditRoutes } from './audit.js';
import { balanceRoutes } from './balance.js';
import { batchCodeRoutes } from './batchCodes.js';
import { codeRoutes } from './codes.js';
import { COMPAT_PATHS, createCompat } from './compat/compat.js';
import { ORGANIZATION_PATHS } from './compat/organization.js';
import { deductionRoutes } from './deductions.js';
import type { ApiDeps } from './deps.js';
import { eventRoutes } from './events.js';
import { grantListRoutes } from './grantList.js';
import { grantRoutes } from './grants.js';
import { healthRoutes } from './health.js';
import { journalRoutes } from './journal.js';
import { keyRoutes } from './keys.js';
import { limitRoutes } from './limits.js';
import { logRoutes } from './logs.js';
import { meterEventRoutes } from './meterEvents.js';
import { modelRoutes } from './models.js';
import { documentOf, register, registerShapes } from './openapi.js';
import { operatorKeyRoutes } from './operatorKeys.js';
import { orgRoutes } from './orgs.js';
import { overviewRoutes } from './overview.js';
import { ownOrgRoutes } from './ownOrgs.js';
import { peopleRoutes } from './people.js';
import { addressOf, createPerformer, failed, sealed } from './perform.js';
import { pricingRoutes } from './pricing.js';
import { problemResponse, unknownPath, unreadable, wrongMethod } from './problem.js';
import { providerRoutes } from './providers.js';
import { reconciliationRoutes } from './reconciliation.js';
import { redemptionRoutes } from './redemptions.js';
import { REFERENCE, referenceRoutes } from './reference/routes.js';
import { roleRoutes } from './roles.js';
import { answer, type Method, type Route, route } from './route.js';
import { statementRoutes } from './statement.js';
import { tokenActionRoutes } from './tokenActions.js';
import { tokenRoutes } from './tokens.js';
import { usageBucketRoutes } from './usageBuckets.js';
import { usageDayRoutes } from './usageDay.js';
import { usageExportRoutes } from './usageExport.js';
import { usageForecastRoutes } from './usageForecast.js';
import { usageMonthRoutes } from './usageMonth.js';

/** The management API. Whatever is not in the table of routes is not there, and every row says who may use it. */
export function createApi(deps: ApiDeps): OpenAPIHono {
  const app = new OpenAPIHono();
  const routes = apiRoutes(deps);
  let made: unknown;
  const document = (): unknown => {
    made ??= documentOf(app);
    return made;
  };
  const perform = createPerformer(deps);
  const all = [...routes, documentRoute(document), ...referenceRoutes(document)];
  registerShapes(app.openAPIRegistry);
  for (const one of all) {
    if (!one.path.startsWith(REFERENCE)) register(app.openAPIRegistry, one);
    app.on(one.method.toUpperCase(), honoPath(one.path), (c) => perform(c, one));
  }
  const short = shortForms(all);
  for (const one of short) app.on(one.method.toUpperCase(), honoPath(one.path), (c) => perform(c, one));
  for (const [path, methods] of methodsByPath([...all, ...short])) {
    app.all(honoPath(path), (c) => sealed(problemResponse(wrongMethod(c.req.method, methods), newRequestId())));
  }
  const compat = createCompat(deps);
  for (const path of [...COMPAT_PATHS, ...ORGANIZATION_PATHS]) app.all(path, (c) => compat(c.req.raw, addressOf(c, deps.trustedProxies)));
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
  ...peopleRoutes(deps),
  ...orgRoutes(deps),
  ...ownOrgRoutes(deps),
  ...grantRoutes(deps),
  ...deductionRoutes(deps),
  ...balanceRoutes(deps),
  ...statementRoutes(deps),
  ...grantListRoutes(deps),
  ...adminLedgerRoutes(deps),
  ...journalRoutes(deps),
  ...limitRoutes(deps),
  ...codeRoutes(deps),
  ...batchCodeRoutes(deps),
  ...redemptionRoutes(deps),
  ...meterEventRoutes(deps),
  ...tokenRoutes(deps),
  ...keyRoutes(deps),
  ...operatorKeyRoutes(deps),
  ...roleRoutes(deps),
  ...tokenActionRoutes(deps),
  ...logRoutes(deps),
  ...usageMonthRoutes(deps),
  ...usageDayRoutes(deps),
  ...usageBucketRoutes(deps),
  ...usageForecastRoutes(deps),
  ...usageExportRoutes(deps),
  ...overviewRoutes(deps),
  ...pricingRoutes(deps),
  ...modelRoutes(deps),
  ...adminPriceRoutes(deps),
  ...eventRoutes(deps),
  ...providerRoutes(deps),
  ...healthRoutes(deps),
  ...adminOverviewRoutes(deps),
  ...reconciliationRoutes(deps),
  ...asideRoutes(deps),
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

/**
 * `/api/v1/tokens` for `/api/v1/orgs/{org}/tokens`, where the credential says which organization is meant. A path of its
 * own wins over a short form.
 */
export function shortForms(routes: readonly Route[]): readonly Route[] {
  const taken = new Set(routes.map((one) => formOf(one.method, one.path)));
  return routes
    .filter(({ path }) => path.startsWith(OF_ORG))
    .map((one) => ({ ...one, path: `/api/v1${one.path.slice(OF_ORG.length) || '/org'}`, isShort: true }))
    .filter((one) => !taken.has(formOf(one.method, one.path)));
}

const OF_ORG = '/api/v1/orgs/{org}';
const formOf = (method: Method, path: string): string => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`;

const honoPath = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

function methodsByPath(routes: readonly Route[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { path, method } of routes) found.set(path, [...(found.get(path) ?? []), ...named(method)]);
  return found;
}

const named = (method: Method): string[] => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]);
