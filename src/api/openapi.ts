import type { OpenAPIHono } from '@hono/zod-openapi';
import { z } from '@hono/zod-openapi';
import { RULES, type Rule } from '../accounts/roles/rules.js';
import type { Route } from './route.js';
import { AmountOutSchema, ProblemSchema } from './schemas.js';

type Registry = OpenAPIHono['openAPIRegistry'];
type RouteConfig = Parameters<Registry['registerPath']>[0];
type Headers = Readonly<Record<string, { readonly description: string; readonly schema: { readonly type: 'string' } }>>;

/** Writes one route into the document, from the schemas that validate it. */
export function register(registry: Registry, one: Route): void {
  const headers = headersOf(one);
  const config: RouteConfig = {
    method: one.method,
    path: one.path,
    operationId: operationIdOf(one),
    summary: one.summary,
    tags: [one.tag],
    request: {
      ...(one.params ? { params: one.params as z.ZodObject } : {}),
      ...(one.query ? { query: one.query as z.ZodObject } : {}),
      ...(headers ? { headers } : {}),
      ...(one.body ? { body: { content: { 'application/json': { schema: one.body } }, required: !one.body.safeParse({}).success } } : {}),
    },
    security: securityOf(one.permission),
    responses: {
      ...Object.fromEntries(
        Object.entries(one.answers).map(([status, { description, schema, type = 'application/json' }]) => [
          status,
          { description, headers: one.conditional ? { ...HEADERS, ...ETAG } : HEADERS, content: { [type]: { schema } } },
        ]),
      ),
      default: { description: 'Why not', headers: HEADERS, content: { 'application/problem+json': { schema: ProblemSchema } } },
    },
  };
  registry.registerPath({ ...config, 'x-permission': one.permission, ...(one.stepUp ? { 'x-step-up': true } : {}) } as RouteConfig);
}

const HEADERS: Headers = { 'X-Request-Id': { description: 'Names this call, here and in our log', schema: { type: 'string' } } };
const ETAG: Headers = { ETag: { description: 'For If-Match', schema: { type: 'string' } } };

const ABOUT = `Organizations, tokens, credits and what was spent.

Every path under /api/v1/orgs/{org}/ also has a short form under /api/v1/, for instance GET /api/v1/tokens: a management key
means its own organization there, a session the only one its person belongs to, or the one named in X-Organization.

Amounts go out exactly, in three ways at once, and come in as a text or number of credits. Lists are pages: send next_cursor
back as cursor, with the same filters. Whatever is wrong is said as problem+json (RFC 9457), every wrong field at once.`;

/** In the order in which one meets them. */
const TAGS: Readonly<Record<string, string>> = {
  organizations: 'Who pays',
  tokens: 'Keys for applications that spend on /v1',
  credits: 'What there is, and where it came from',
  limits: 'What may be spent in a month',
  usage: 'What was spent on what',
  logs: 'Every request',
  prices: 'What things cost',
  events: 'What happens, as it happens',
  members: 'Who belongs to an organization, and as what',
  'management keys': 'Keys for programs that use this API',
  'operator keys': 'Keys for programs of the house that runs this server',
  people: 'Signing in and out, oneself, and everybody there is',
  codes: 'Redemption codes',
  books: 'Ledger, reconciliation and audit',
  server: 'The server itself: its upstreams and how it is',
  system: 'How the installation is',
  meta: 'About this API',
};

const SCHEMES = {
  operatorKey: {
    type: 'http',
    scheme: 'bearer',
    description: 'The operator key (ok-fb-…), from operator.key in the data folder, or a further one with a role.',
  },
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

/** `getOrgTokens`, `postOrgTokenRotate`: every word of the path, and a parameter makes what it stands for one. */
function operationIdOf({ method, path }: Pick<Route, 'method' | 'path'>): string {
  const parts = path.replace('/api/v1/', '').split('/');
  const words = parts.flatMap((part, i) => {
    if (part.startsWith('{')) return [];
    const next = parts[i + 1];
    const one = next?.startsWith('{')
      ? part
          .replace(/ies$/, 'y')
          .replace(/([^s])s$/, '$1')
          .replace(/che$/, 'ch')
      : part;
    return one === part && next?.startsWith('{') && i === parts.length - 2 ? [part, next.slice(1, -1)] : [one];
  });
  const name = words.flatMap((word) => word.split(/[-._]/)).map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return `${method}${name.join('')}`;
}

export type ApiDocument = ReturnType<OpenAPIHono['getOpenAPI31Document']>;

/** To be made once: it adds to the registry. */
export function documentOf(app: OpenAPIHono): ApiDocument {
  for (const [name, scheme] of Object.entries(SCHEMES)) app.openAPIRegistry.registerComponent('securitySchemes', name, scheme);
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Farebox management API', version: '1', description: ABOUT },
    servers: [{ url: '/' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
  });
  return mended(document, (document.components?.schemas ?? {}) as Readonly<Record<string, Schema>>) as ApiDocument;
}

/** Named before anybody uses it: where the first use of a shape may be null, the generator takes all of them for that. */
export function registerShapes(registry: Registry): void {
  registry.register('Amount', AmountOutSchema);
  registry.register('Problem', ProblemSchema);
}

interface Schema {
  readonly $ref?: string;
  readonly type?: unknown;
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
}

/**
 * The generator says both of "this, or null" and "this, with more" as `allOf`, which nothing satisfies: null is not the
 * shape, and a shape that is closed admits no more.
 */
function mended(value: unknown, shapes: Readonly<Record<string, Schema>>): unknown {
  if (Array.isArray(value)) return value.map((item) => mended(item, shapes));
  if (typeof value !== 'object' || value === null) return value;
  const schema: Schema = value;
  const [named, more] = schema.allOf ?? [];
  if (named?.$ref && Array.isArray(more?.type) && more.type.includes('null')) {
    const { type: _, ...facts } = more;
    return { anyOf: [named, { type: 'null' }], ...facts };
  }
  const whole = schema.allOf?.some((part) => part.additionalProperties === false) ? merged(schema, shapes) : value;
  return Object.fromEntries(
    Object.entries(whole).map(([key, item]) => [
      key,
      typeof item === 'string' && key === 'pattern' ? patternOf(item) : mended(item, shapes),
    ]),
  );
}

/** An expression with flags comes as it is written in code; here it is only its source. */
const patternOf = (pattern: string): string => pattern.replace(/^\/?([\s\S]*)\/[a-z]+$/, '$1');

function merged(schema: Schema, shapes: Readonly<Record<string, Schema>>): Schema {
  const named = schema.$ref ? shapes[schema.$ref.slice('#/components/schemas/'.length)] : undefined;
  if (named) return merged(named, shapes);
  if (!schema.allOf) return schema;
  const parts = schema.allOf.map((part) => merged(part, shapes));
  return {
    type: 'object',
    properties: Object.assign({}, ...parts.map((part) => part.properties)) as Record<string, unknown>,
    required: [...new Set(parts.flatMap((part) => part.required ?? []))],
    additionalProperties: false,
  };
}

function headersOf(one: Route): z.ZodObject | undefined {
  const shape = {
    ...(one.keyed
      ? {
          'Idempotency-Key': z
            .string()
            .max(255)
            .optional()
            .openapi({
              description: `The same key and body again give the first answer again, for 24 hours.${one.keyed === 'required' ? ' People and management keys have to send one.' : ''}`,
            }),
        }
      : {}),
    ...(one.conditional
      ? { 'If-Match': z.string().optional().openapi({ description: 'The ETag that was read: 412 if somebody else was first.' }) }
      : {}),
  };
  return Object.keys(shape).length > 0 ? z.object(shape) : undefined;
}
