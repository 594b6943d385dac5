import type { OpenAPIHono } from '@hono/zod-openapi';
import { z } from '@hono/zod-openapi';
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
    security: one.permission === 'public' ? [] : [{ operatorKey: [] }],
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
  registry.registerPath({ ...config, 'x-permission': one.permission } as RouteConfig);
}

/** To be made once: it adds to the registry. */
export function documentOf(app: OpenAPIHono): unknown {
  app.openAPIRegistry.registerComponent('securitySchemes', 'operatorKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'The operator key (ok-fb-…), from operator.key in the data folder.',
  });
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Farebox management API', version: '1', description: 'Organizations, tokens, credits and what was spent.' },
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
