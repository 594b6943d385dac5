import { z } from '@hono/zod-openapi';
import { closeOrg } from '../accounts/closeOrg.js';
import { createOwnOrg, OWN_ORGS_MAX } from '../accounts/createOwnOrg.js';
import type { OrgChanges } from '../accounts/org.js';
import { updateOrg } from '../accounts/updateOrg.js';
import { contextFor } from './context.js';
import { type ApiDeps, shown } from './deps.js';
import { ChangedOrgSchema, noSuchOrg, OrgParams, OrgSchema, orgOut, TimeZoneIn, updatedOut } from './orgs.js';
import { conflict, creditsAway, idempotencyMismatch, notInForce } from './problem.js';
import { answer, type Route, route } from './route.js';
import { AmountIn, AmountOutSchema, text } from './schemas.js';
import { noSession } from './sessions.js';

const ClosedSchema = z
  .strictObject({
    closed: z.literal(true),
    /** Revoked by this. */
    tokens: z.int(),
    management_keys: z.int(),
    /** Who belonged to it until now. */
    members: z.int(),
    /** Stays in the books; nobody can spend it any more. */
    balance: AmountOutSchema,
  })
  .openapi('ClosedOrganization');

/** What people do with organizations of their own; operators have routes under /admin. */
export const ownOrgRoutes = (deps: ApiDeps): readonly Route[] => [createRoute(deps), updateRoute(deps), closeRoute(deps)];

const createRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs',
    permission: 'session',
    summary: `Make a further organization, and be its owner; at most ${OWN_ORGS_MAX}, each starts with 0 credits`,
    tag: 'organizations',
    body: z.strictObject({ name: text(200), time_zone: TimeZoneIn.default('UTC') }),
    keyed: true,
    answers: { 201: { description: 'The organization', schema: OrgSchema } },
    handle: async ({ session, actor, body, idempotencyKey }) => {
      if (!session) return noSession();
      const key = idempotencyKey === null ? undefined : { scope: 'own orgs', key: idempotencyKey, request: body };
      const made = await createOwnOrg({ ctx: contextFor(deps, actor), personId: session.personId, input: body, key });
      if (made.kind === 'idempotency_mismatch') return idempotencyMismatch();
      if (made.kind === 'too_many_orgs')
        return conflict(
          'too_many_orgs',
          `You have made ${OWN_ORGS_MAX} organizations. Close one that you do not need, or ask the operator.`,
        );
      if (made.effect === 'unavailable') return notInForce(`The organization ${made.org.org_id}`);
      return answer(201, orgOut(deps, made.org), { etag: `"${made.org.etag}"`, location: `/api/v1/orgs/${made.org.org_id}` });
    },
  });

const updateRoute = (deps: ApiDeps): Route =>
  route({
    method: 'patch',
    path: '/api/v1/orgs/{org}',
    permission: 'org.manage',
    summary: 'Give the organization another name or time zone, or its tokens a ceiling for their quotas',
    tag: 'organizations',
    params: OrgParams,
    body: z.strictObject({
      name: text(200).optional(),
      time_zone: TimeZoneIn.optional(),
      max_token_quota: AmountIn.nullable().optional(),
    }),
    conditional: true,
    answers: { 200: { description: 'The organization as it is now', schema: ChangedOrgSchema } },
    handle: async ({ params, body, actor, ifMatch }) => {
      const changes = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined)) as OrgChanges;
      return updatedOut(deps, await updateOrg({ ctx: contextFor(deps, actor), orgId: params.org, changes, ifMatch }));
    },
  });

const closeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: '/api/v1/orgs/{org}',
    permission: 'org.delete',
    stepUp: true,
    summary: 'Close an organization: its tokens and keys are revoked and nobody belongs to it; its books stay',
    tag: 'organizations',
    params: OrgParams,
    answers: { 200: { description: 'What ended with it', schema: ClosedSchema } },
    handle: async ({ params, actor }) => {
      const wallet = await deps.ledger.wallet(params.org);
      if (!wallet) return noSuchOrg();
      if (!wallet.hot) return creditsAway();
      if (wallet.hot.held > 0 || wallet.hot.pending > 0)
        return conflict(
          'requests_running',
          'Requests are running or not booked yet. Pause the tokens, wait until in_flight and pending of the balance are 0, and repeat this.',
        );
      const done = await closeOrg({ ctx: contextFor(deps, actor), orgId: params.org });
      switch (done.kind) {
        case 'unknown_org':
          return noSuchOrg();
        case 'personal':
          return conflict('personal_organization', 'This organization came with an account and stays as long as that does.');
        case 'owing': {
          const owed = `${shown(deps, done.debt).credits} credits`;
          return conflict('debt_open', `The organization owes ${owed}. Add at least as much, and repeat this.`);
        }
        case 'closed':
          if (done.effect === 'unavailable') return notInForce('The end of the organization');
          return answer(200, {
            ...{ closed: true, tokens: done.tokens, management_keys: done.keys, members: done.members },
            balance: shown(deps, wallet.booked),
          });
      }
    },
  });
