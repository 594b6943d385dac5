import { z } from '@hono/zod-openapi';
import { type ChangedKey, revokeKey, rotateKey, updateKey } from '../accounts/keys/changeKey.js';
import { createKey } from '../accounts/keys/createKey.js';
import type { ManagementKey } from '../accounts/keys/key.js';
import { listKeys, readKey } from '../accounts/keys/listKeys.js';
import { SCOPE_NAMES, type Scope } from '../accounts/keys/scopes.js';
import { readOrg } from '../accounts/readOrg.js';
import { isKeyId, isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, conflict, idempotencyMismatch, invalid, notFound, type Problem, refused } from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeIn, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';

const PATH = '/api/v1/orgs/{org}/management-keys';
const GRACE_SECONDS_MAX = 30 * 24 * 3600;

const KeySchema = z
  .strictObject({
    id: z.string(),
    org_id: z.string(),
    name: z.string(),
    /** What of the secret may be seen: `mk-fb-…7Q2F`. */
    display: z.string(),
    scopes: z.array(z.enum(SCOPE_NAMES)),
    status: z.enum(['active', 'expired', 'revoked']),
    expires_at: TimeOut.nullable(),
    revoked_at: TimeOut.nullable(),
    old_secret_until: TimeOut.nullable(),
    created_by: z.string(),
    created_at: TimeOut,
    updated_at: TimeOut,
    /** To the minute. */
    last_used_at: TimeOut.nullable(),
  })
  .openapi('ManagementKey');

const KeyWithSecretSchema = KeySchema.extend({ secret: z.string().openapi({ description: 'Shown once, here.' }) }).openapi(
  'ManagementKeyWithSecret',
);

const Scopes = z
  .array(z.enum(SCOPE_NAMES))
  .min(1, 'Name at least one scope.')
  .transform((given): readonly Scope[] => SCOPE_NAMES.filter((one) => given.includes(one)))
  .openapi({ type: 'array', items: { type: 'string', enum: [...SCOPE_NAMES] }, minItems: 1 });

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });
const KeyParams = OrgParams.extend({ key: idParam(isKeyId, 'key_07Ab12Cd34Ef56') });

export const keyRoutes = (deps: ApiDeps): readonly Route[] => [
  createRoute(deps),
  listRoute(deps),
  readRoute(deps),
  updateRoute(deps),
  rotateRoute(deps),
  revokeRoute(deps),
];

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: PATH,
    permission: 'org.manage',
    stepUp: true,
    summary: 'Make a management key; its secret is shown in this answer and never again',
    tag: 'management keys',
    params: OrgParams,
    body: z.strictObject({ name: text(200), scopes: Scopes, expires_at: TimeIn.nullable().default(null) }),
    keyed: true,
    answers: { 201: { description: 'The key and its secret', schema: KeyWithSecretSchema } },
    handle: async ({ params, body, actor, idempotencyKey }) => {
      const late = inThePast(deps, body.expires_at);
      if (late) return late;
      const key = idempotencyKey === null ? undefined : { scope: `keys:${params.org}`, key: idempotencyKey, request: body };
      const made = await createKey({ ctx: contextFor(deps, actor), orgId: params.org, input: body, key });
      switch (made.kind) {
        case 'unknown_org':
          return noSuchOrg();
        case 'idempotency_mismatch':
          return idempotencyMismatch();
        case 'beyond_own_role':
          return beyondOwnScope(made.scope);
        case 'created':
          return answer(
            201,
            { ...keyOut(deps, made.key), secret: made.secret },
            { location: `/api/v1/orgs/${params.org}/management-keys/${made.key.key_id}` },
          );
      }
    },
  });

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: PATH,
    permission: 'org.manage',
    summary: 'All management keys of an organization, newest first',
    tag: 'management keys',
    params: OrgParams,
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(KeySchema) } },
    handle: async ({ params, query, actor }) => {
      const filters = ['management-keys', params.org];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, keyId] = place;
      const after = createdAt && keyId ? { createdAt, keyId } : null;
      const ctx = contextFor(deps, actor);
      const page = await listKeys({ ctx, orgId: params.org, after, limit: query.limit });
      if (page.rows.length === 0 && !(await readOrg({ ctx, orgId: params.org }))) return noSuchOrg();
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((key) => keyOut(deps, key)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.key_id], filters) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: `${PATH}/{key}`,
    permission: 'org.manage',
    summary: 'One management key',
    tag: 'management keys',
    params: KeyParams,
    answers: { 200: { description: 'The key', schema: KeySchema } },
    handle: async ({ params, actor }) => {
      const key = await readKey({ ctx: contextFor(deps, actor), orgId: params.org, keyId: params.key });
      return key ? answer(200, keyOut(deps, key)) : noSuchKey();
    },
  });

const updateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: `${PATH}/{key}`,
    permission: 'org.manage',
    stepUp: true,
    summary: 'Another name, other scopes, another end; in force for the very next call',
    tag: 'management keys',
    params: KeyParams,
    body: z.strictObject({ name: text(200).optional(), scopes: Scopes.optional(), expires_at: TimeIn.nullable().optional() }),
    answers: { 200: { description: 'The key as it is now', schema: KeySchema } },
    handle: async ({ params, body, actor }) => {
      const late = inThePast(deps, body.expires_at ?? null);
      if (late) return late;
      const { name, scopes, expires_at } = body;
      const changes = {
        ...(name === undefined ? {} : { name }),
        ...(scopes === undefined ? {} : { scopes }),
        ...(expires_at === undefined ? {} : { expires_at }),
      };
      const changed = await updateKey({ ctx: contextFor(deps, actor), orgId: params.org, keyId: params.key, changes });
      return changed.kind === 'beyond_own_role' ? beyondOwnScope(changed.scope) : keyAnswer(deps, changed);
    },
  });

const rotateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{key}/rotate`,
    permission: 'org.manage',
    stepUp: true,
    summary: 'A new secret for the same key; the old one may work on for a while',
    tag: 'management keys',
    params: KeyParams,
    body: z.strictObject({
      grace_seconds: z.int().min(0, '0 or more.').max(GRACE_SECONDS_MAX, `At most ${GRACE_SECONDS_MAX} (30 days).`).default(0),
    }),
    answers: { 200: { description: 'The key and its new secret', schema: KeyWithSecretSchema } },
    handle: async ({ params, body, actor }) => {
      const ctx = contextFor(deps, actor);
      const rotated = await rotateKey({ ctx, orgId: params.org, keyId: params.key, graceSeconds: body.grace_seconds });
      if (rotated.kind === 'beyond_own_role') return beyondOwnScope(rotated.scope);
      return keyAnswer(deps, rotated, rotated.kind === 'changed' ? { secret: rotated.secret } : {});
    },
  });

const revokeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: `${PATH}/{key}`,
    permission: 'org.manage',
    summary: 'Revoke a management key for ever; its very next call is refused',
    tag: 'management keys',
    params: KeyParams,
    answers: { 200: { description: 'The key as it is now', schema: KeySchema } },
    handle: async ({ params, actor }) =>
      keyAnswer(deps, await revokeKey({ ctx: contextFor(deps, actor), orgId: params.org, keyId: params.key })),
  });

function keyAnswer(deps: ApiDeps, changed: ChangedKey, more: Readonly<Record<string, unknown>> = {}): Answer | Problem {
  switch (changed.kind) {
    case 'unknown_key':
      return noSuchKey();
    case 'revoked':
      return conflict('key_revoked', 'This key is revoked, and stays so. Make a new one.');
    case 'changed':
      return answer(200, { ...keyOut(deps, changed.key), ...more });
  }
}

const noSuchKey = (): Problem => notFound('There is no management key with this id.');

const beyondOwnScope = (scope: Scope): Problem =>
  refused(403, 'beyond_own_role', `A key with the scope ${scope} would be allowed more than you are. Leave it out, or ask an owner.`);

const inThePast = (deps: ApiDeps, expiresAt: string | null): Problem | undefined =>
  expiresAt !== null && Date.parse(expiresAt) <= deps.clock.nowMs()
    ? invalid([{ pointer: '/expires_at', code: 'in_the_past', message: 'This time has passed already.' }])
    : undefined;

function keyOut(deps: ApiDeps, key: ManagementKey): z.input<typeof KeySchema> {
  const isOver = key.expires_at !== null && Date.parse(key.expires_at) <= deps.clock.nowMs();
  return {
    id: key.key_id,
    org_id: key.org_id,
    name: key.name,
    display: `mk-fb-…${key.last_four}`,
    scopes: [...key.scopes],
    status: key.revoked_at !== null ? 'revoked' : isOver ? 'expired' : 'active',
    expires_at: timeOutOrNull(key.expires_at),
    revoked_at: timeOutOrNull(key.revoked_at),
    old_secret_until: timeOutOrNull(key.grace_ends_at),
    created_by: key.created_by,
    created_at: timeOut(key.created_at),
    updated_at: timeOut(key.updated_at),
    last_used_at: timeOutOrNull(key.last_used_at),
  };
}
