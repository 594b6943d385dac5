import { z } from '@hono/zod-openapi';
import { readOrg } from '../accounts/readOrg.js';
import { usableModels } from '../accounts/usableModels.js';
import { isOrgId } from '../domain/ids.js';
import { fingerprintOf } from '../domain/secrets.js';
import { priceVersionSince } from '../usage/priceVersion.js';
import { allowancesOf } from './allowances.js';
import type { ApiDeps } from './deps.js';
import { estimateRoute } from './estimate.js';
import { noSuchOrg } from './orgs.js';
import {
  EntrySchema,
  entriesOf,
  FacetsSchema,
  Filters,
  facetsOf,
  filtered,
  isUsable,
  PublicEntrySchema,
  publicEntriesOf,
} from './priceList.js';
import { notFound } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { TimeOut } from './schemas.js';

const Head = { version: z.string(), in_force_since: TimeOut.nullable(), total: z.int(), facets: FacetsSchema };

const PricingSchema = z.strictObject({ ...Head, entries: z.array(EntrySchema) }).openapi('Pricing');
const PublicPricingSchema = z.strictObject({ ...Head, entries: z.array(PublicEntrySchema) }).openapi('PublicPricing');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

export const pricingRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), publicRoute(deps), estimateRoute(deps)];

const listRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/pricing',
    permission: 'pricing.read',
    summary: 'What everything costs this organization now',
    tag: 'prices',
    params: OrgParams,
    query: Filters.extend({
      /** Only what some active token of the caller may use. */
      usable: z.literal('true', 'true, or leave it out.').optional(),
    }),
    answers: { 200: { description: 'The price list', schema: PricingSchema } },
    handle: async ({ params, query, reach }) => {
      const { usable, ...filters } = query;
      const org = await readOrg({ ctx: deps, orgId: params.org });
      if (!org) return noSuchOrg();
      const all = entriesOf(deps, org, await allowancesOf(deps, params.org));
      const allowed = usable ? await usableModels(deps, { orgId: params.org, reach, nowMs: deps.clock.nowMs() }) : null;
      const entries = filtered(all, filters).filter((one) => allowed === null || isUsable(one, allowed));
      return answer(200, { ...(await headOf(deps)), total: all.length, facets: facetsOf(all), entries });
    },
  });

const CACHED_S = 60;

/** For web pages and price comparisons: the same for everybody, so it may be kept by whoever passes it on. */
const publicRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/pricing/public',
    permission: 'public',
    summary: 'The price list for everybody, where the operator shows it',
    tag: 'prices',
    query: Filters,
    answers: {
      200: { description: 'The price list', schema: PublicPricingSchema },
      304: { description: 'It is still the one that `If-None-Match` names', schema: z.looseObject({}) },
    },
    handle: async ({ query, from }) => {
      if (!deps.pricing.public) return notFound('The price list of this server is not public. Ask its operator, or sign in.');
      const all = publicEntriesOf(deps);
      const head = await headOf(deps);
      const body = { ...head, total: all.length, facets: facetsOf(all), entries: filtered(all, query) };
      const etag = `"${fingerprintOf(JSON.stringify(body))}"`;
      const headers = { etag, 'cache-control': `public, max-age=${CACHED_S}` };
      const known = (from.headers.get('if-none-match') ?? '').split(',').map((one) => one.trim().replace(/^W\//, ''));
      return known.includes(etag) || known.includes('*') ? answer(304, undefined, headers) : answer(200, body, headers);
    },
  });

async function headOf(deps: ApiDeps): Promise<{ version: string; in_force_since: string | null }> {
  const { version } = deps.prices();
  const since = await priceVersionSince(deps.db, version);
  return { version, in_force_since: since?.toISOString() ?? null };
}
