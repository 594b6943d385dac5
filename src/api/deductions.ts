import { z } from '@hono/zod-openapi';
import { nameOf } from '../accounts/actor.js';
import { claimKey } from '../accounts/claimKey.js';
import { base62, isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { creditsAway, idempotencyMismatch, invalid, notInForce, refused } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, PositiveAmountIn, text } from './schemas.js';

const DeductionSchema = z
  .strictObject({
    id: z.string(),
    org_id: z.string(),
    amount: AmountOutSchema,
    reason: z.string(),
    /** What was taken from which grant; adds up to the amount. */
    from: z.array(z.strictObject({ grant_id: z.string(), amount: AmountOutSchema })),
    available: AmountOutSchema,
  })
  .openapi('Deduction');

/** `grant_` and the number under which it is booked. */
export const GrantIdIn = z
  .string()
  .regex(/^grant_[1-9]\d{0,14}$/, 'A grant id looks like grant_17.')
  .transform((value) => Number(value.slice('grant_'.length)))
  .openapi({ type: 'string', example: 'grant_17' });

export const deductionRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'post',
    path: '/api/v1/admin/orgs/{org}/deductions',
    permission: 'operator.finance',
    stepUp: true,
    summary: 'Take credits back: at most what no request has set aside, so that nobody ends in debt',
    tag: 'credits',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    body: z.strictObject({
      credits: PositiveAmountIn,
      reason: text(500),
      grant_id: GrantIdIn.optional().openapi({ description: 'Take from this grant alone; else in the order in which they are used up.' }),
    }),
    keyed: 'required',
    answers: { 201: { description: 'What was taken', schema: DeductionSchema } },
    handle: async ({ params, body, actor, idempotencyKey }) => {
      const orgId = params.org;
      let key = `deduction:${base62(20)}`;
      if (idempotencyKey !== null) {
        const named = { scope: `deductions:${orgId}`, key: idempotencyKey, request: body };
        const claim = await claimKey({ ctx: contextFor(deps, actor), key: named, memo: key });
        if (claim.kind === 'mismatch') return idempotencyMismatch();
        key = claim.memo;
      }
      const { credits, reason, grant_id: grantId = null } = body;
      const taken = await deps.ledger.deduct({ orgId, amount: credits, grantId, reason, key, actor: nameOf(actor) });
      switch (taken.kind) {
        case 'unknown_org':
          return noSuchOrg();
        case 'unavailable':
          return creditsAway();
        case 'unknown_grant':
          return invalid([{ pointer: '/grant_id', code: 'unknown_grant', message: 'This organization has no such grant.' }]);
        case 'short':
          return refused(409, 'more_than_available', 'So much cannot be taken: it is spent, or set aside by running requests.', {
            available: shown(deps, taken.room),
          });
        case 'taken':
          if (!taken.inForce) return notInForce(`The deduction tx_${taken.txId}`);
          return answer(201, {
            id: `tx_${taken.txId}`,
            org_id: orgId,
            amount: shown(deps, credits),
            reason,
            from: taken.from.map(({ grantId: id, amount }) => ({ grant_id: `grant_${id}`, amount: shown(deps, amount) })),
            available: shown(deps, taken.avail),
          });
      }
    },
  }),
];
