import { z } from '@hono/zod-openapi';
import { nameOf } from '../accounts/actor.js';
import { claimKey } from '../accounts/claimKey.js';
import { base62, isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { type ApiDeps, categoryOf, GRANT_CATEGORIES, GRANT_KINDS, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { idempotencyMismatch, invalid, notInForce } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, PositiveAmountIn, TimeIn, TimeOut, text } from './schemas.js';

const GrantSchema = z
  .strictObject({
    id: z.string(),
    org_id: z.string(),
    kind: z.enum(GRANT_KINDS),
    category: z.enum(GRANT_CATEGORIES),
    amount: AmountOutSchema,
    reason: z.string(),
    expires_at: TimeOut.nullable(),
    available: AmountOutSchema,
  })
  .openapi('Grant');

export const grantRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'post',
    path: '/api/v1/admin/orgs/{org}/grants',
    permission: 'operator.finance',
    stepUp: true,
    summary: 'Add credits to an organization',
    tag: 'credits',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    body: z.strictObject({
      credits: PositiveAmountIn,
      reason: text(500),
      expires_at: TimeIn.nullable().optional(),
      kind: z.enum(GRANT_KINDS).default('manual'),
      category: z
        .enum(GRANT_CATEGORIES)
        .optional()
        .openapi({ description: 'Whether somebody paid for them outside. Default: `paid` for kind `manual`, `promo` for the others.' }),
    }),
    keyed: 'required',
    answers: { 201: { description: 'The grant', schema: GrantSchema } },
    handle: async ({ params, body, actor, idempotencyKey }) => {
      const orgId = params.org;
      const expiresAt = body.expires_at ? new Date(body.expires_at) : null;
      if (expiresAt && expiresAt.getTime() <= deps.clock.nowMs())
        return invalid([{ pointer: '/expires_at', code: 'in_the_past', message: 'This time has passed already.' }]);
      const { credits, reason, kind } = body;
      const category = body.category ?? categoryOf(kind);
      if (category === 'paid' && kind !== 'manual')
        return invalid([{ pointer: '/category', code: 'not_for_this_kind', message: `Credits of kind ${kind} are given, not sold.` }]);
      let key = `grant:${base62(20)}`;
      if (idempotencyKey !== null) {
        const named = { scope: `grants:${orgId}`, key: idempotencyKey, request: body };
        const claim = await claimKey({ ctx: contextFor(deps, actor), key: named, memo: key });
        if (claim.kind === 'mismatch') return idempotencyMismatch();
        key = claim.memo;
      }
      const granted = await deps.ledger.grant({ orgId, amount: credits, kind, category, reason, expiresAt, key, actor: nameOf(actor) });
      if (granted.kind === 'unknown_org') return noSuchOrg();
      if (!granted.inForce) return notInForce(`The grant ${granted.grantId}`);
      return answer(201, {
        id: granted.grantId,
        org_id: orgId,
        kind,
        category,
        amount: shown(deps, credits),
        reason,
        expires_at: expiresAt?.toISOString() ?? null,
        available: shown(deps, granted.available),
      });
    },
  }),
];
