import { z } from '@hono/zod-openapi';
import { changeQuota } from '../accounts/changeQuota.js';
import { QUOTA_WINDOWS } from '../accounts/quota.js';
import { rotateToken } from '../accounts/rotateToken.js';
import type { TokenChanges } from '../accounts/token.js';
import { type TokenAction, updateToken } from '../accounts/updateToken.js';
import { contextFor } from './context.js';
import type { ApiDeps } from './deps.js';
import { conflict } from './problem.js';
import { type Method, type Route, route } from './route.js';
import { AmountIn } from './schemas.js';
import { TokenParams, TokenSchema, TokenWithSecretSchema } from './tokenShape.js';
import { isBounded, tokenAnswer } from './tokens.js';

const GRACE_SECONDS_MAX = 30 * 24 * 3600;

export const tokenActionRoutes = (deps: ApiDeps): readonly Route[] => [
  action(deps, { method: 'post', end: '/pause', action: 'token.pause', changes: { status: 'paused' }, summary: 'Stop a token for now' }),
  action(deps, {
    method: 'post',
    end: '/resume',
    action: 'token.resume',
    changes: { status: 'active' },
    summary: 'Let a paused token go on',
  }),
  action(deps, { method: 'delete', end: '', action: 'token.revoke', changes: { status: 'revoked' }, summary: 'Revoke a token for ever' }),
  rotate(deps),
  quota(deps),
];

interface Switch {
  readonly method: Method;
  readonly end: string;
  readonly action: TokenAction;
  readonly changes: TokenChanges;
  readonly summary: string;
}

/** Doing it twice is the same as doing it once. */
const action = (deps: ApiDeps, { method, end, action, changes, summary }: Switch): Route =>
  route({
    method,
    path: `/api/v1/orgs/{org}/tokens/{token}${end}`,
    permission: 'tokens.write',
    summary,
    tag: 'tokens',
    params: TokenParams,
    answers: { 200: { description: 'The token as it is now', schema: TokenSchema } },
    handle: async ({ params, actor, reach }) => {
      const ctx = contextFor(deps, actor);
      return tokenAnswer(
        deps,
        await updateToken({ ctx, orgId: params.org, tokenId: params.token, ...reach, action, changes, ifMatch: null }),
      );
    },
  });

const rotate = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/tokens/{token}/rotate',
    permission: 'tokens.write',
    summary: 'A new secret for the same token; the old one may work on for a while',
    tag: 'tokens',
    params: TokenParams,
    body: z.strictObject({
      grace_seconds: z.int().min(0, '0 or more.').max(GRACE_SECONDS_MAX, `At most ${GRACE_SECONDS_MAX} (30 days).`).default(0),
    }),
    answers: { 200: { description: 'The token and its new secret', schema: TokenWithSecretSchema } },
    handle: async ({ params, body, actor, reach }) => {
      const ctx = contextFor(deps, actor);
      const rotated = await rotateToken({ ctx, orgId: params.org, tokenId: params.token, ...reach, graceSeconds: body.grace_seconds });
      return tokenAnswer(deps, rotated, rotated.kind === 'updated' ? { secret: rotated.secret } : {});
    },
  });

const quota = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/tokens/{token}/quota',
    permission: 'tokens.write',
    summary: 'Set one quota of a token, or add to it; with If-Match a repeated request adds nothing twice',
    tag: 'tokens',
    params: TokenParams,
    body: z.strictObject({ op: z.enum(['set', 'add']), amount: AmountIn, window: z.enum(QUOTA_WINDOWS).optional() }),
    conditional: true,
    answers: { 200: { description: 'The token as it is now', schema: TokenSchema } },
    handle: async ({ params, body, actor, reach, may, ifMatch }) => {
      const { op, amount, window = null } = body;
      const changed = await changeQuota({
        ctx: contextFor(deps, actor),
        orgId: params.org,
        tokenId: params.token,
        ...reach,
        op,
        amount,
        window,
        ifMatch,
        isBounded: isBounded(may),
      });
      if (changed.kind !== 'unlimited') return tokenAnswer(deps, changed);
      return conflict('quota_unlimited', `This token has no ${changed.window} quota to add to. Give it one with op "set".`);
    },
  });
