import { z } from '@hono/zod-openapi';
import { readSecondFactorRule, type SecondFactorRule, setSecondFactorRule } from '../accounts/roles/secondFactorRule.js';
import { isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { conflict } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { TimeOut, timeOutOrNull } from './schemas.js';

const PATH = '/api/v1/orgs/{org}/two-factor';
const Params = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });

const RuleSchema = z
  .strictObject({
    /** Members without a second factor see nothing of the organization until they have one. */
    required: z.boolean(),
    changed_by: z.string().nullable(),
    changed_at: TimeOut.nullable(),
    /** Members who have none. */
    without: z.array(z.strictObject({ person_id: z.string(), email: z.string(), name: z.string() })),
  })
  .openapi('TwoFactorRule');

/** Whether members need a second factor, and who lacks it. */
export const secondFactorRuleRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: PATH,
    permission: 'org.manage',
    summary: 'Whether members need a second factor, and who has none',
    tag: 'members',
    params: Params,
    answers: { 200: { description: 'The rule', schema: RuleSchema } },
    handle: async ({ params, actor }) => {
      const rule = await readSecondFactorRule({ ctx: contextFor(deps, actor), orgId: params.org });
      return rule ? answer(200, ruleOut(rule)) : noSuchOrg();
    },
  }),
  route({
    method: 'put',
    path: PATH,
    permission: 'org.manage',
    stepUp: true,
    summary: 'Let in only members with a second factor, from the very next call; the others may set one up',
    tag: 'members',
    params: Params,
    body: z.strictObject({ required: z.boolean() }),
    answers: { 200: { description: 'The rule as it is now', schema: RuleSchema } },
    handle: async ({ params, body, actor, session }) => {
      if (body.required && session && !session.twoFactor)
        return conflict('two_factor_off', 'Switch two-factor sign-in on for yourself first: this would shut you out too.');
      const rule = await setSecondFactorRule({ ctx: contextFor(deps, actor), orgId: params.org, required: body.required });
      return rule ? answer(200, ruleOut(rule)) : noSuchOrg();
    },
  }),
];

const ruleOut = ({ required, changed_by, changed_at, without }: SecondFactorRule): z.input<typeof RuleSchema> => ({
  required,
  changed_by,
  changed_at: timeOutOrNull(changed_at),
  without: [...without],
});
