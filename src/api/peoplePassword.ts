import { z } from '@hono/zod-openapi';
import { forgotPassword, resetPassword } from '../accounts/people/links.js';
import { changePassword, checkPassword } from '../accounts/people/ownPassword.js';
import { busy } from '../accounts/people/signIn.js';
import type { ApiDeps } from './deps.js';
import {
  badPassword,
  EmailIn,
  hashingBusy,
  LinkTokenIn,
  NewPasswordIn,
  PasswordIn,
  refusedTry,
  StatusSchema,
  visitor,
  WRONG_PASSWORD,
} from './peopleShape.js';
import { asked, linkOver } from './peopleSignUp.js';
import { stepUpRequired } from './problem.js';
import { answer, type Route, route } from './route.js';
import { noSession } from './sessions.js';

export const passwordRoutes = (deps: ApiDeps): readonly Route[] => [forgotRoute(deps), resetRoute(deps), changeRoute(deps)];

const forgotRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/password/forgot',
    permission: 'public',
    summary: 'Ask for a link to set a new password; the answer is the same for every address',
    tag: 'people',
    body: z.strictObject({ email: EmailIn }),
    answers: { 202: { description: 'Sent, if there is such an account', schema: StatusSchema('accepted') } },
    handle: async ({ body, from }) => {
      const late = await asked(deps, from, 'forgot', body.email);
      if (late) return late;
      await forgotPassword({ ctx: deps.people, email: body.email });
      return answer(202, { status: 'accepted' });
    },
  });

const resetRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/password/reset',
    permission: 'public',
    summary: 'Set a new password by the link of the mail; ends all sessions',
    tag: 'people',
    body: z.strictObject({ token: LinkTokenIn, password: NewPasswordIn }),
    answers: { 200: { description: 'Set; sign in with it', schema: StatusSchema('reset') } },
    handle: async ({ body, from }) => {
      const weak = badPassword('/password', body.password, '');
      if (weak) return weak;
      const late = await asked(deps, from, 'reset', null);
      if (late) return late;
      const done = await resetPassword({ ctx: deps.people, token: body.token, password: body.password }).catch(busy);
      if (done.kind === 'busy') return hashingBusy();
      return done.kind === 'reset' ? answer(200, { status: 'reset' }) : linkOver();
    },
  });

const changeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/password/change',
    permission: 'session',
    summary: 'Change the password; ends all other sessions',
    tag: 'people',
    body: z.strictObject({ current_password: PasswordIn.optional(), password: NewPasswordIn }),
    answers: { 200: { description: 'Changed', schema: StatusSchema('changed') } },
    handle: async ({ session, actor, body, from }) => {
      if (!session) return noSession();
      const weak = badPassword('/password', body.password, session.email);
      if (weak) return weak;
      const check = { ctx: deps.people, visitor: visitor(deps.people, from), me: session, password: body.current_password ?? null };
      const checked = await checkPassword(check);
      // Whoever has no password yet has shown who they are by signing in a moment ago.
      if (checked.kind === 'none' && !(actor.kind === 'person' && actor.isProved)) return stepUpRequired();
      if (checked.kind !== 'right' && checked.kind !== 'none') return refusedTry(checked, WRONG_PASSWORD);
      const changed = await changePassword({ ctx: deps.people, me: session, password: body.password }).catch(busy);
      return changed ? hashingBusy() : answer(200, { status: 'changed' });
    },
  });
