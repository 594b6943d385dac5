import type { OpenAPIHono } from '@hono/zod-openapi';
import { z } from '@hono/zod-openapi';
import { RULES, type Rule } from '../accounts/roles/rules.js';
import type { Route } from './route.js';
import { ProblemSchema } from './schemas.js';

type Registry = OpenAPIHono['openAPIRegistry'];
type RouteConfig = Parameters<Registry['registerPath']>[0];

/** Writes one route into the document, from the schemas that validate it. */
export function register(registry: Registry, one: Route): void {
  const headers = headersOf(one);
  const request = {
    ...(one.params ? { params: one.params as z.ZodObject } : {}),
    ...(one.query ? { query: one.query as z.ZodObject } : {}),
    ...(headers ? { headers } : {}),
    ...(one.body ? { body: { content: { 'application/json': { schema: one.body } } } } : {}),
  };
  const config: RouteConfig = {
    method: one.method,
    path: one.path,
    summary: one.summary,
    tags: [one.tag],
    request,
    security: securityOf(one.permission),
    responses: {
      ...Object.fromEntries(
        Object.entries(one.answers).map(([status, { description, schema, type = 'application/json' }]) => [
          status,
          { description, content: { [type]: { schema } } },
        ]),
      ),
      default: { description: 'Why not', content: { 'application/problem+json': { schema: ProblemSchema } } },
    },
  };
  registry.registerPath({ ...config, 'x-permission': one.permission, ...(one.stepUp ? { 'x-step-up': true } : {}) } as RouteConfig);
}

const ABOUT = `Organizations, tokens, credits and what was spent.

Every path under /api/v1/orgs/{org}/ also has a short form under /api/v1/, for instance GET /api/v1/tokens: a management key
means its own organization there, a session the only one its person belongs to, or the one named in X-Organization.`;

const SCHEMES = {
  operatorKey: { type: 'http', scheme: 'bearer', description: 'The operator key (ok-fb-…), from operator.key in the data folder.' },
  managementKey: {
    type: 'http',
    scheme: 'bearer',
    description: 'A management key (mk-fb-…) of one organization, with all of these scopes.',
  },
  session: {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-farebox_session',
    description: 'The cookie of somebody who is signed in. Changes have to come with an Origin header of this server.',
  },
} as const;

type Security = NonNullable<RouteConfig['security']>;

function securityOf(permission: Route['permission']): Security {
  if (permission === 'public') return [];
  const rule: Rule = RULES[permission];
  if (rule.kind === 'session') return [{ session: [] }];
  if (rule.kind === 'operators') return [{ operatorKey: [] }, { session: [...rule.roles] }];
  const person: Security = [{ operatorKey: [] }, { session: [...rule.any, ...(rule.own ? [rule.own] : [])] }];
  return rule.scopes === null ? person : [...person, { managementKey: [...rule.scopes] }];
}

/** To be made once: it adds to the registry. */
export function documentOf(app: OpenAPIHono): unknown {
  for (const [name, scheme] of Object.entries(SCHEMES)) app.openAPIRegistry.registerComponent('securitySchemes', name, scheme);
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Farebox management API', version: '1', description: ABOUT },
    servers: [{ url: '/' }],
  });
}

function headersOf(one: Route): z.ZodObject | undefined {
  const shape = {
    ...(one.keyed ? { 'idempotency-key': z.string().max(255).optional() } : {}),
    ...(one.conditional ? { 'if-match': z.string().optional() } : {}),
  };
  return Object.keys(shape).length > 0 ? z.object(shape) : undefined;
}
