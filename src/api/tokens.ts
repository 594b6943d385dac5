import { z } from '@hono/zod-openapi';
import { createToken } from '../accounts/createToken.js';
import { listTokens } from '../accounts/listTokens.js';
import { readOrg } from '../accounts/readOrg.js';
import { readToken } from '../accounts/readToken.js';
import type { Token } from '../accounts/token.js';
import { type UpdatedToken, updateToken } from '../accounts/updateToken.js';
import { isOrgId, isPersonId, type OrgId } from '../domain/ids.js';
import { TOKEN_STATES } from '../domain/tokenState.js';
import { readTokenSpend } from '../usage/tokenSpend.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { tooManyTokens } from './members.js';
import { noSuchOrg } from './orgs.js';
import {
  badCursor,
  changedMeanwhile,
  conflict,
  forbidden,
  idempotencyMismatch,
  invalid,
  notFound,
  notInForce,
  type Problem,
} from './problem.js';
import { type Answer, answer, type Caller, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, text } from './schemas.js';
import { aboveCeiling, quotaPointer } from './tokenQuotas.js';
import {
  changesOf,
  TokenCreate,
  TokenParams,
  TokenPatch,
  TokenSchema,
  TokenWithSecretSchema,
  TokenWithSpendSchema,
  tokenOut,
  withSpend,
} from './tokenShape.js';

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

const TokenQuery = z.strictObject({
  limit: LimitQuery,
  cursor: CursorQuery,
  status: z.enum(TOKEN_STATES).optional(),
  q: text(200).optional().openapi({ description: 'An id, the last four characters of a secret, or a part of the name.' }),
  project: text(200).optional(),
  owner: z
    .union([z.literal('none'), z.string().refine(isPersonId)], 'A person (usr_…), or none for those of the organization.')
    .optional()
    .openapi({ type: 'string', description: 'A person, or `none` for those of the organization.' }),
  critical: z.enum(['true', 'false']).optional(),
});

export const tokenRoutes = (deps: ApiDeps): readonly Route[] => [createRoute(deps), listRoute(deps), readRoute(deps), updateRoute(deps)];

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/tokens',
    permission: 'tokens.write',
    summary: 'Make a token; its secret is shown in this answer and never again',
    tag: 'tokens',
    params: OrgParams,
    body: TokenCreate,
    keyed: 'required',
    answers: { 201: { description: 'The token and its secret', schema: TokenWithSecretSchema } },
    handle: async ({ params, body, actor, may, idempotencyKey }) => {
      const unfit = criticalProblem(body, may);
      if (unfit) return unfit;
      if (body.expires_at && Date.parse(body.expires_at) <= deps.clock.nowMs())
        return invalid([{ pointer: '/expires_at', code: 'in_the_past', message: 'This time has passed already.' }]);
      const key = idempotencyKey === null ? undefined : { scope: `tokens:${params.org}`, key: idempotencyKey, request: body };
      const input = { ...changesOf(body), name: body.name };
      const made = await createToken({ ctx: contextFor(deps, actor), orgId: params.org, input, key, isBounded: isBounded(may) });
      if (made.kind === 'unknown_org') return noSuchOrg();
      if (made.kind === 'idempotency_mismatch') return idempotencyMismatch();
      if (made.kind === 'too_many_tokens') return tooManyTokens();
      if (made.kind === 'above_ceiling') return aboveCeiling(deps, made, quotaPointer(body));
      if (made.effect === 'unavailable') return notInForce(`The token ${made.token.token_id}`);
      const { token, secret } = made;
      const { id, ...rest } = tokenOut(deps, token);
      return answer(201, { id, secret, ...rest }, { etag: `"${token.etag}"`, location: `/api/v1/orgs/${params.org}/tokens/${id}` });
    },
  });

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: '/api/v1/orgs/{org}/tokens',
    permission: 'tokens.read',
    summary: 'All tokens of an organization, newest first',
    tag: 'tokens',
    params: OrgParams,
    query: TokenQuery,
    answers: { 200: { description: 'A page', schema: pageSchema(TokenWithSpendSchema) } },
    handle: async ({ params, query, actor, reach }) => {
      const { ownerId } = reach;
      const filter = {
        ...{ state: query.status ?? null, q: query.q ?? null, project: query.project ?? null, owner: query.owner ?? null },
        critical: query.critical === undefined ? null : query.critical === 'true',
      };
      const filters = ['tokens', params.org, filter, ownerId];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
      if (typeof place === 'string') return badCursor(place);
      const [createdAt, tokenId] = place;
      const after = createdAt && tokenId ? { createdAt, tokenId } : null;
      const ctx = contextFor(deps, actor);
      const page = await listTokens({ ctx, orgId: params.org, ownerId, filter, after, limit: query.limit });
      if (page.rows.length === 0 && !(await readOrg({ ctx, orgId: params.org }))) return noSuchOrg();
      const last = page.rows.at(-1);
      return answer(200, {
        data: await spent(deps, params.org, page.rows),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([last.created_at, last.token_id], filters) : null,
      });
    },
  });
}

async function spent(deps: ApiDeps, orgId: OrgId, tokens: readonly Token[]) {
  const tokenIds = tokens.map(({ token_id: id }) => id);
  const days = await readTokenSpend({ db: deps.db, orgId, tokenIds, nowMs: deps.clock.nowMs() });
  return tokens.map((token) => withSpend(deps, token, days.get(token.token_id)));
}

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/tokens/{token}',
    permission: 'tokens.read',
    summary: 'One token',
    tag: 'tokens',
    params: TokenParams,
    answers: { 200: { description: 'The token', schema: TokenWithSpendSchema } },
    handle: async ({ params, actor, reach }) => {
      const token = await readToken({ ctx: contextFor(deps, actor), orgId: params.org, tokenId: params.token, ...reach });
      const [shown] = token ? await spent(deps, params.org, [token]) : [];
      return token ? answer(200, shown, { etag: `"${token.etag}"` }) : noSuchToken();
    },
  });

const updateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: '/api/v1/orgs/{org}/tokens/{token}',
    permission: 'tokens.write',
    summary: 'Change what a token may do; in force for the very next request',
    tag: 'tokens',
    params: TokenParams,
    body: TokenPatch,
    conditional: true,
    answers: { 200: { description: 'The token as it is now', schema: TokenSchema } },
    handle: async ({ params, body, actor, reach, may, ifMatch }) => {
      const unfit = criticalProblem(body, may);
      if (unfit) return unfit;
      const changes = changesOf(body);
      const ctx = contextFor(deps, actor);
      const of = { ctx, orgId: params.org, tokenId: params.token, ...reach, isBounded: isBounded(may) };
      const updated = await updateToken({ ...of, action: 'token.update', changes, ifMatch });
      return updated.kind === 'above_ceiling' ? aboveCeiling(deps, updated, quotaPointer(body)) : tokenAnswer(deps, updated);
    },
  });

/** What became of a change of a token, as an answer. */
export function tokenAnswer(deps: ApiDeps, updated: UpdatedToken, more: Readonly<Record<string, unknown>> = {}): Answer | Problem {
  switch (updated.kind) {
    case 'unknown_token':
      return noSuchToken();
    case 'revoked':
      return conflict('token_revoked', 'This token is revoked, and stays so. Make a new one.');
    case 'above_ceiling':
      return aboveCeiling(deps, updated, () => '/amount');
    case 'changed':
      return changedMeanwhile(tokenOut(deps, updated.token), `"${updated.token.etag}"`);
    case 'updated':
      if (updated.effect === 'unavailable') return notInForce('The change');
      return answer(200, { ...tokenOut(deps, updated.token), ...more }, { etag: `"${updated.token.etag}"` });
  }
}

/** What goes on where others stop is a matter of the limits. */
const criticalProblem = ({ critical }: { readonly critical?: boolean | undefined }, may: Caller['may']): Problem | undefined =>
  critical && !may('limits.write') ? forbidden({ permission: 'limits.manage' }) : undefined;

/** Who manages the organization could lift its ceiling, so for them it is none. */
export const isBounded = (may: Caller['may']): boolean => may('org.manage') === null;

const noSuchToken = (): Problem => notFound('There is no token with this id.');
