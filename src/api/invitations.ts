import { z } from '@hono/zod-openapi';
import { countTry } from '../accounts/people/attempts.js';
import {
  acceptInvitation,
  type Invitation,
  invite,
  listInvitations,
  openInvitation,
  resendInvitation,
  revokeInvitation,
  type SentInvitation,
} from '../accounts/people/invitations.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { EmailIn, LinkTokenIn, tooManyTries } from './peopleShape.js';
import { asked, linkOver } from './peopleSignUp.js';
import { conflict, notFound, type Problem, refused, stepUpRequired } from './problem.js';
import { beyondOwnRole } from './roles.js';
import { answer, type Call, idParam, type Route, route } from './route.js';
import { TimeOut, timeOut } from './schemas.js';
import { noSession } from './sessions.js';

const AT_ONCE_MAX = 50;

const InvitationSchema = z
  .strictObject({
    id: z.string(),
    email: z.string(),
    role: z.strictObject({ id: z.string(), name: z.string() }),
    status: z.enum(['open', 'expired']),
    invited_by: z.string(),
    created_at: TimeOut,
    sent_at: TimeOut,
    expires_at: TimeOut,
  })
  .openapi('Invitation');

const SentSchema = InvitationSchema.extend({
  link: z.string().nullable().openapi({ description: 'To be passed on by hand, where no mail server is configured; otherwise null.' }),
}).openapi('SentInvitation');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });
const InviteParams = OrgParams.extend({ invite: z.string().regex(/^inv_[0-9a-f]{32}$/) });

export const invitationRoutes = (deps: ApiDeps): readonly Route[] => [
  inviteRoute(deps),
  listRoute(deps),
  resendRoute(deps),
  revokeRoute(deps),
  lookRoute(deps),
  acceptRoute(deps),
];

const inviteRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/invites',
    permission: 'members.write',
    summary: 'Invite people by their addresses, whether or not they have accounts',
    tag: 'members',
    params: OrgParams,
    body: z.strictObject({
      emails: z.array(EmailIn).min(1, 'Name at least one address.').max(AT_ONCE_MAX, `At most ${AT_ONCE_MAX} at once.`),
      role_id: z.string().max(40, 'This is not the id of a role.'),
    }),
    answers: {
      201: {
        description: 'The invitations; who belongs to the organization already is named apart',
        schema: z.strictObject({ data: z.array(SentSchema), already_members: z.array(z.string()) }),
      },
    },
    handle: async (call) => {
      const { params, body, actor } = call;
      // Owners are made as carefully as they are changed.
      if (body.role_id === 'owner' && actor.kind === 'person' && !actor.isProved) return stepUpRequired();
      const waitMs = await countTry(
        deps.people,
        body.emails.map((email) => ({ name: `invite ${email}`, most: 10, windowS: 3600 })),
      );
      if (waitMs > 0) return tooManyTries(waitMs);
      const ctx = { ...deps.people, ...contextFor(deps, actor) };
      const done = await invite({ ctx, orgId: params.org, emails: body.emails, roleId: body.role_id, by: invitedBy(call) });
      switch (done.kind) {
        case 'unknown_org':
          return noSuchOrg();
        case 'unknown_role':
          return notFound('There is no role with this id.');
        case 'beyond_own_role':
          return beyondOwnRole();
        case 'too_many':
          return conflict('too_many_invitations', 'This organization has as many open invitations as it can. Revoke some first.');
        case 'invited':
          return answer(201, { data: done.invitations.map((one) => sentOut(deps, one)), already_members: done.alreadyMembers });
      }
    },
  });

/** The name a stranger reads in the mail. */
const invitedBy = ({ session }: Pick<Call<never, never, never>, 'session'>): string => (session ? session.name : OPERATOR);

const OPERATOR = 'The operator of this server';

/** Whoever only helps others from outside neither reads links that are for them, nor signs letters with their own name. */
function isOfOrg({ actor }: Pick<Call<never, never, never>, 'actor'>, orgId: OrgId): boolean {
  if (actor.kind === 'operator') return actor.key?.role !== 'operator.support';
  return actor.kind !== 'person' || actor.orgId === orgId || actor.operatorRole === 'operator.admin';
}

const listRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/invites',
    permission: 'members.read',
    summary: 'Invitations that were not accepted yet, newest first',
    tag: 'members',
    params: OrgParams,
    answers: { 200: { description: 'All of them', schema: z.strictObject({ data: z.array(InvitationSchema) }) } },
    handle: async ({ params, actor }) => {
      const rows = await listInvitations({ ctx: contextFor(deps, actor), orgId: params.org });
      return answer(200, { data: rows.map((one) => invitationOut(deps, one)) });
    },
  });

const resendRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/orgs/{org}/invites/{invite}/resend',
    permission: 'invites.resend',
    summary:
      'Send an invitation again; the link sent before stops working. Support of the operator may: the link goes to the address alone',
    tag: 'members',
    params: InviteParams,
    answers: { 200: { description: 'Sent', schema: SentSchema } },
    handle: async (call) => {
      const { params, actor } = call;
      const waitMs = await countTry(deps.people, [{ name: `resend ${params.invite}`, most: 5, windowS: 3600 }]);
      if (waitMs > 0) return tooManyTries(waitMs);
      const ctx = { ...deps.people, ...contextFor(deps, actor) };
      const sent = await resendInvitation({
        ctx,
        orgId: params.org,
        invitationId: params.invite,
        by: isOfOrg(call, params.org) ? invitedBy(call) : OPERATOR,
      });
      if (sent.kind !== 'sent') return noSuchInvitation();
      const link = isOfOrg(call, params.org) ? sent.invitation.link : null;
      return answer(200, sentOut(deps, { ...sent.invitation, link }));
    },
  });

const revokeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: '/api/v1/orgs/{org}/invites/{invite}',
    permission: 'members.write',
    summary: 'Take an invitation back',
    tag: 'members',
    params: InviteParams,
    answers: { 200: { description: 'Gone', schema: z.strictObject({ revoked: z.literal(true) }) } },
    handle: async ({ params, actor }) => {
      const gone = await revokeInvitation({ ctx: contextFor(deps, actor), orgId: params.org, invitationId: params.invite });
      return gone.kind === 'revoked' ? answer(200, { revoked: true }) : noSuchInvitation();
    },
  });

const noSuchInvitation = (): Problem => notFound('There is no open invitation with this id.');

const lookRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/invitation/look',
    permission: 'public',
    summary: 'What an invitation is about, by the text of its link',
    tag: 'people',
    body: z.strictObject({ token: LinkTokenIn }),
    answers: {
      200: {
        description: 'The invitation',
        schema: z.strictObject({ organization: z.string(), email: z.string(), role: z.string().nullable(), expires_at: TimeOut }),
      },
    },
    handle: async ({ body, from }) => {
      const late = await asked(deps, from, 'look', null);
      if (late) return late;
      const found = await openInvitation(deps.people, body.token);
      if (!found) return linkOver();
      return answer(200, {
        organization: found.org_name,
        email: found.email,
        role: found.role_name,
        expires_at: timeOut(found.expires_at),
      });
    },
  });

const acceptRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/invitation/accept',
    permission: 'session',
    summary: 'Accept an invitation as the person who is signed in',
    tag: 'people',
    body: z.strictObject({ token: LinkTokenIn }),
    answers: { 200: { description: 'You belong to it now', schema: z.strictObject({ org_id: z.string() }) } },
    handle: async ({ session, body }) => {
      if (!session) return noSession();
      const done = await acceptInvitation({ ctx: deps.people, token: body.token, me: session });
      switch (done.kind) {
        case 'accepted':
          return answer(200, { org_id: done.orgId });
        case 'link_over':
          return linkOver();
        case 'other_address':
          return refused(403, 'other_address', 'This invitation was sent to another address. Sign in with an account of that address.');
        case 'role_gone':
          return refused(410, 'role_gone', 'The role of this invitation was deleted. Ask for another invitation.');
      }
    },
  });

const invitationOut = (deps: ApiDeps, one: Invitation): z.input<typeof InvitationSchema> => ({
  id: one.invitation_id,
  email: one.email,
  role: { id: one.role_id, name: one.role_name ?? one.role_id },
  status: Date.parse(one.expires_at) > deps.clock.nowMs() ? 'open' : 'expired',
  invited_by: one.invited_by,
  created_at: timeOut(one.created_at),
  sent_at: timeOut(one.sent_at),
  expires_at: timeOut(one.expires_at),
});

const sentOut = (deps: ApiDeps, one: SentInvitation): z.input<typeof SentSchema> => ({ ...invitationOut(deps, one), link: one.link });
