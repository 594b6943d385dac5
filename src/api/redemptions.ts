import { z } from '@hono/zod-openapi';
import { type Redeemed, redeem } from '../billing/redeem.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { idempotencyMismatch, notInForce, type Problem, refused, tooMany } from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut } from './schemas.js';

const RedeemedSchema = z
  .strictObject({
    org_id: z.string(),
    amount: AmountOutSchema,
    /** When what is left of these credits ends; null = never. */
    credits_expire_at: TimeOut.nullable(),
    balance: AmountOutSchema,
    grant_id: z.string(),
  })
  .openapi('Redemption');

export const redemptionRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/redemptions',
    permission: 'credits.redeem',
    summary: 'Turn a redemption code into credits, which can be spent at once',
    tag: 'codes',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    body: z.strictObject({ code: z.string().min(1, 'Write the code here.').max(200, 'At most 200 characters.') }),
    keyed: 'required',
    answers: { 200: { description: 'What it gave', schema: RedeemedSchema } },
    handle: async ({ params, body, actor, idempotencyKey }) => {
      const key = idempotencyKey === null ? undefined : { scope: `redemptions:${params.org}`, key: idempotencyKey };
      const redeemed = await redeem({ ctx: contextFor(deps, actor), orgId: params.org, typed: body.code, key });
      return redemptionAnswer(deps, params.org, redeemed);
    },
  }),
];

async function redemptionAnswer(deps: ApiDeps, orgId: OrgId, redeemed: Redeemed): Promise<Answer | Problem> {
  switch (redeemed.kind) {
    case 'unknown_org':
      return noSuchOrg();
    case 'idempotency_mismatch':
      return idempotencyMismatch();
    case 'too_many_attempts':
      return tooMany('too_many_attempts', `Too many codes were tried. Try again in ${waitText(redeemed.waitMs)}.`, redeemed.waitMs);
    case 'code_not_found':
      return refused(404, 'code_not_found', 'There is no such code. Check the letters and digits; dashes and capitals do not matter.');
    case 'code_already_used':
      return refused(409, 'code_already_used', usedText(redeemed));
    case 'code_expired':
      return refused(410, 'code_expired', 'This code was valid for a limited time, which is over. Ask whoever gave it to you for another.');
    case 'code_disabled':
      return refused(410, 'code_disabled', 'This code has been withdrawn. Ask whoever gave it to you for another.');
    case 'code_not_for_you':
      return refused(403, 'code_not_for_you', 'This code is meant for another organization, or only for new ones. It is not used up.');
    case 'redeemed': {
      if (redeemed.effect === 'unavailable') return notInForce(`The grant grant_${redeemed.grantId}`);
      return answer(200, {
        org_id: orgId,
        amount: shown(deps, redeemed.amount),
        credits_expire_at: redeemed.creditsExpireAtMs === null ? null : new Date(redeemed.creditsExpireAtMs).toISOString(),
        balance: shown(deps, redeemed.avail),
        grant_id: `grant_${redeemed.grantId}`,
      });
    }
  }
}

function usedText({ usedAtMs, usedBy }: Extract<Redeemed, { kind: 'code_already_used' }>): string {
  if (usedAtMs === null) return 'This code has been used. Each code works once; ask whoever gave it to you for another.';
  return `This code was used for this organization on ${new Date(usedAtMs).toISOString()} by ${usedBy}. Each code works once.`;
}

const waitText = (ms: number): string => (ms > 90_000 ? `${Math.ceil(ms / 60_000)} minutes` : `${Math.ceil(ms / 1000)} seconds`);
