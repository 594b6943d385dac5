import { z } from '@hono/zod-openapi';
import { expired } from '../accounts/people/cookies.js';
import { leaveForGood, type Staying } from '../accounts/people/leaveForGood.js';
import { askForEmail, confirmEmail } from '../accounts/people/ownEmail.js';
import { formatCredits } from '../domain/credits.js';
import type { ApiDeps } from './deps.js';
import { EmailIn, LinkTokenIn, StatusSchema, visitor } from './peopleShape.js';
import { asked, linkOver } from './peopleSignUp.js';
import { conflict, type Problem } from './problem.js';
import { answer, type Route, route } from './route.js';
import { noSession } from './sessions.js';

/** What people do with an account of theirs as a whole: another address, and an end. */
export const ownAccountRoutes = (deps: ApiDeps): readonly Route[] => [askRoute(deps), confirmRoute(deps), deleteRoute(deps)];

const askRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/email/change',
    permission: 'session',
    stepUp: true,
    summary: 'Ask for another address: a link goes there, and nothing changes before it is followed',
    tag: 'people',
    body: z.strictObject({ email: EmailIn }),
    answers: { 202: { description: 'Sent; the same for an address that has an account', schema: StatusSchema('accepted') } },
    handle: async ({ session, body, from }) => {
      if (!session) return noSession();
      const late = await asked(deps, from, 'email', session.email);
      if (late) return late;
      await askForEmail({ ctx: deps.people, me: session, email: body.email });
      return answer(202, { status: 'accepted' });
    },
  });

const confirmRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/email/confirm',
    permission: 'public',
    summary: 'Take another address by the link that was sent there; ends all other sessions and tells the old address',
    tag: 'people',
    body: z.strictObject({ token: LinkTokenIn }),
    answers: { 200: { description: 'Changed; sign in with it from now on', schema: StatusSchema('changed') } },
    handle: async ({ body, from }) => {
      const late = await asked(deps, from, 'email-confirm', null);
      if (late) return late;
      const me = await deps.sessions.read(from.headers);
      const done = await confirmEmail({ ctx: deps.people, token: body.token, keep: me?.sessionId ?? null });
      return done.kind === 'changed' ? answer(200, { status: 'changed' }) : linkOver();
    },
  });

const deleteRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: '/api/v1/me',
    permission: 'session',
    stepUp: true,
    summary: 'Delete your account: books keep the id, everything else about you is removed',
    tag: 'people',
    query: z.strictObject({ credits: z.enum(['keep', 'forfeit']).default('keep') }),
    answers: { 200: { description: 'Deleted', schema: StatusSchema('deleted') } },
    handle: async ({ session, query, from }) => {
      if (!session) return noSession();
      const left = await leaveForGood({ ctx: deps.people, me: session, forfeit: query.credits === 'forfeit' });
      if (left.kind !== 'gone') return stayingProblem(left);
      return { ...answer(200, { status: 'deleted' }), cookies: expired(visitor(deps.people, from).transport) };
    },
  });

function stayingProblem(staying: Staying): Problem {
  if (staying.kind === 'last_owner')
    return conflict(
      'last_owner',
      `You are the only owner of '${staying.organization}', and others belong to it. Make somebody else an owner, or remove the others first.`,
    );
  if (staying.kind === 'owing')
    return conflict(
      'owing',
      `'${staying.organization}' owes ${formatCredits(staying.credits)} credits and has nobody but you. Add them first, or ask whoever runs this server.`,
    );
  return conflict(
    'credits_left',
    `'${staying.organization}' has ${formatCredits(staying.credits)} credits left and nobody but you. Spend them, make somebody else an owner, or repeat with credits=forfeit to let them lapse.`,
  );
}
