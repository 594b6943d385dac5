import { z } from '@hono/zod-openapi';
import { type ChangedOperatorKey, revokeOperatorKey, rotateOperatorKey } from '../accounts/operatorKeys/changeOperatorKey.js';
import { createOperatorKey } from '../accounts/operatorKeys/createOperatorKey.js';
import { listOperatorKeys, readOperatorKey } from '../accounts/operatorKeys/listOperatorKeys.js';
import type { OperatorKey } from '../accounts/operatorKeys/operatorKey.js';
import { OPERATOR_ROLES } from '../accounts/roles/permissions.js';
import { isOperatorKeyId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { badCursor, conflict, idempotencyMismatch, invalid, notFound, type Problem } from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeIn, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';
import { Range } from './tokenShape.js';

const PATH = '/api/v1/admin/operator-keys';
const TAG = 'operator keys';
const GRACE_SECONDS_MAX = 30 * 24 * 3600;

const OperatorKeySchema = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    role: z.enum(OPERATOR_ROLES),
    /** What of the secret may be seen: `ok-fb-…7Q2F`. */
    display: z.string(),
    ip_allow: z.array(z.string()).nullable(),
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
  .openapi('OperatorKey');

const WithSecretSchema = OperatorKeySchema.extend({ secret: z.string().openapi({ description: 'Shown once, here.' }) }).openapi(
  'OperatorKeyWithSecret',
);

const Params = z.object({ operator_key: idParam(isOperatorKeyId, 'opk_07Ab12Cd34Ef56') });

export const operatorKeyRoutes = (deps: ApiDeps): readonly Route[] => [
  createRoute(deps),
  listRoute(deps),
  readRoute(deps),
  rotateRoute(deps),
  revokeRoute(deps),
];

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: PATH,
    permission: 'operator.keys',
    stepUp: true,
    summary: 'Make a further operator key; its secret is shown in this answer and never again',
    tag: TAG,
    body: z.strictObject({
      name: text(200),
      role: z.enum(OPERATOR_ROLES),
      ip_allow: z.array(Range).min(1, 'Name at least one range, or send null for all.').max(500).nullable().default(null),
      expires_at: TimeIn.nullable().default(null),
    }),
    keyed: true,
    answers: { 201: { description: 'The key and its secret', schema: WithSecretSchema } },
    handle: async ({ body, actor, idempotencyKey }) => {
      if (body.expires_at !== null && Date.parse(body.expires_at) <= deps.clock.nowMs())
        return invalid([{ pointer: '/expires_at', code: 'in_the_past', message: 'This time has passed already.' }]);
      const { ip_allow: ips, ...rest } = body;
      const key = idempotencyKey === null ? undefined : { scope: 'operator-keys', key: idempotencyKey, request: body };
      const made = await createOperatorKey({ ctx: contextFor(deps, actor), input: { ...rest, ips }, key });
      if (made.kind === 'idempotency_mismatch') return idempotencyMismatch();
      return answer(201, { ...keyOut(deps, made.key), secret: made.secret }, { location: `${PATH}/${made.key.operator_key_id}` });
    },
  });

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: PATH,
    permission: 'operator.keys',
    summary: 'All operator keys but the one of the data folder, newest first',
    tag: TAG,
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery }),
    answers: { 200: { description: 'A page', schema: pageSchema(OperatorKeySchema) } },
    handle: async ({ query, actor }) => {
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, ['operator-keys']);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, id] = place;
      const after = createdAt && id ? { createdAt, id } : null;
      const page = await listOperatorKeys({ ctx: contextFor(deps, actor), after, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((key) => keyOut(deps, key)),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.operator_key_id], ['operator-keys']) : null,
      });
    },
  });
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: `${PATH}/{operator_key}`,
    permission: 'operator.keys',
    summary: 'One operator key',
    tag: TAG,
    params: Params,
    answers: { 200: { description: 'The key', schema: OperatorKeySchema } },
    handle: async ({ params, actor }) => {
      const key = await readOperatorKey({ ctx: contextFor(deps, actor), id: params.operator_key });
      return key ? answer(200, keyOut(deps, key)) : noSuchKey();
    },
  });

const rotateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{operator_key}/rotate`,
    permission: 'operator.keys',
    stepUp: true,
    summary: 'A new secret for the same key; the old one may work on for a while',
    tag: TAG,
    params: Params,
    body: z.strictObject({
      grace_seconds: z.int().min(0, '0 or more.').max(GRACE_SECONDS_MAX, `At most ${GRACE_SECONDS_MAX} (30 days).`).default(0),
    }),
    answers: { 200: { description: 'The key and its new secret', schema: WithSecretSchema } },
    handle: async ({ params, body, actor }) => {
      const rotated = await rotateOperatorKey({
        ctx: contextFor(deps, actor),
        id: params.operator_key,
        graceSeconds: body.grace_seconds,
      });
      return keyAnswer(deps, rotated, rotated.kind === 'changed' ? { secret: rotated.secret } : {});
    },
  });

const revokeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: `${PATH}/{operator_key}`,
    permission: 'operator.keys',
    summary: 'Revoke an operator key for ever; its very next call is refused',
    tag: TAG,
    params: Params,
    answers: { 200: { description: 'The key as it is now', schema: OperatorKeySchema } },
    handle: async ({ params, actor }) =>
      keyAnswer(deps, await revokeOperatorKey({ ctx: contextFor(deps, actor), id: params.operator_key })),
  });

function keyAnswer(deps: ApiDeps, changed: ChangedOperatorKey, more: Readonly<Record<string, unknown>> = {}): Answer | Problem {
  switch (changed.kind) {
    case 'unknown_key':
      return noSuchKey();
    case 'revoked':
      return conflict('key_revoked', 'This key is revoked, and stays so. Make a new one.');
    case 'changed':
      return answer(200, { ...keyOut(deps, changed.key), ...more });
  }
}

const noSuchKey = (): Problem => notFound('There is no operator key with this id.');

function keyOut(deps: ApiDeps, key: OperatorKey): z.input<typeof OperatorKeySchema> {
  const isOver = key.expires_at !== null && Date.parse(key.expires_at) <= deps.clock.nowMs();
  return {
    id: key.operator_key_id,
    name: key.name,
    role: key.role,
    display: `ok-fb-…${key.last_four}`,
    ip_allow: key.ips === null ? null : [...key.ips],
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
