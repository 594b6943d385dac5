import { z } from '@hono/zod-openapi';
import { checkPassword } from '../accounts/people/ownPassword.js';
import { confirmCode, enroll, renewBackupCodes, signInByCode, switchOffSecondFactor } from '../accounts/people/secondFactor.js';
import type { ApiDeps } from './deps.js';
import { badCode, CodeIn, notEnrolled, PasswordIn, refusedTry, StatusSchema, visitor, WRONG_PASSWORD } from './peopleShape.js';
import { conflict, type Problem, signInFailed, stepUpRequired } from './problem.js';
import { type Answer, answer, type From, type Route, route } from './route.js';
import { noSession, signInAnswer } from './sessions.js';

export const totpRoutes = (deps: ApiDeps): readonly Route[] => [
  enrollRoute(deps),
  verifyRoute(deps),
  backupCodeRoute(deps),
  renewRoute(deps),
  disableRoute(deps),
];

const WithPassword = z.strictObject({ password: PasswordIn.optional() });
const CodesOut = z.array(z.string());

const enrollRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/totp/enroll',
    permission: 'session',
    summary: 'Make a secret for an authenticator app; it counts once a code of it was verified',
    tag: 'people',
    body: WithPassword,
    answers: {
      200: {
        description: 'The secret and the backup codes, shown only here',
        schema: z.strictObject({ uri: z.string(), secret: z.string(), backup_codes: CodesOut }).openapi('TotpEnrolment'),
      },
    },
    handle: async ({ session, body, from }) => {
      if (!session) return noSession();
      const enrolled = await enroll({
        ctx: deps.people,
        visitor: visitor(deps.people, from),
        me: session,
        password: body.password ?? null,
      });
      if (enrolled.kind === 'already_on')
        return conflict('two_factor_on', 'Two-factor sign-in is on already. Switch it off first to start anew.');
      if (enrolled.kind !== 'enrolled') return refusedTry(enrolled, WRONG_PASSWORD);
      return answer(200, { uri: enrolled.uri, secret: enrolled.secret, backup_codes: enrolled.backupCodes });
    },
  });

const VerifiedSchema = z.strictObject({ status: z.enum(['signed_in', 'two_factor_on', 'confirmed']) }).openapi('TotpVerified');

const verifyRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/totp/verify',
    permission: 'public',
    summary: 'Give a code: after the password it signs in, with a session it switches two-factor sign-in on',
    tag: 'people',
    body: z.strictObject({ code: CodeIn }),
    answers: { 200: { description: 'The code was right', schema: VerifiedSchema } },
    handle: async ({ body, from }) => {
      const me = await deps.sessions.read(from.headers);
      if (!me) return byCode(deps, from, body.code, 'totp');
      const confirmed = await confirmCode({ ctx: deps.people, visitor: visitor(deps.people, from), me, code: body.code });
      if (confirmed.kind !== 'confirmed') return badCode(confirmed);
      return { ...answer(200, { status: me.twoFactor ? 'confirmed' : 'two_factor_on' }), cookies: confirmed.cookies };
    },
  });

const backupCodeRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/totp/backup-code',
    permission: 'public',
    summary: 'Sign in with a backup code after the password; each works once',
    tag: 'people',
    body: z.strictObject({ code: CodeIn }),
    answers: { 200: { description: 'Signed in', schema: StatusSchema('signed_in') } },
    handle: ({ body, from }) => byCode(deps, from, body.code, 'backup_code'),
  });

async function byCode(deps: ApiDeps, from: From, code: string, source: 'totp' | 'backup_code'): Promise<Answer | Problem> {
  const result = await signInByCode({ ctx: deps.people, visitor: visitor(deps.people, from), code, source });
  if (result.kind === 'no_challenge')
    return signInFailed('password_first', 'Give e-mail address and password first, then the code within ten minutes.');
  return result.kind === 'wrong' ? badCode() : signInAnswer(result);
}

const renewRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/totp/backup-codes',
    permission: 'session',
    summary: 'Make new backup codes; the old ones stop working',
    tag: 'people',
    body: WithPassword,
    answers: {
      200: { description: 'The codes, shown only here', schema: z.strictObject({ backup_codes: CodesOut }).openapi('BackupCodes') },
    },
    handle: async ({ session, body, from }) => {
      if (!session) return noSession();
      const made = await renewBackupCodes({
        ctx: deps.people,
        visitor: visitor(deps.people, from),
        me: session,
        password: body.password ?? null,
      });
      if (made.kind === 'not_enrolled') return notEnrolled();
      if (made.kind !== 'made') return refusedTry(made, WRONG_PASSWORD);
      return answer(200, { backup_codes: made.backupCodes });
    },
  });

const disableRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/totp/disable',
    permission: 'session',
    summary: 'Switch two-factor sign-in off; a mail says so',
    tag: 'people',
    body: WithPassword,
    answers: { 200: { description: 'Off', schema: StatusSchema('two_factor_off') } },
    handle: async ({ session, actor, body, from }) => {
      if (!session) return noSession();
      const checked = await checkPassword({
        ctx: deps.people,
        visitor: visitor(deps.people, from),
        me: session,
        password: body.password ?? null,
      });
      if (checked.kind === 'none' && !(actor.kind === 'person' && actor.isProved)) return stepUpRequired();
      if (checked.kind !== 'right' && checked.kind !== 'none') return refusedTry(checked, WRONG_PASSWORD);
      const off = await switchOffSecondFactor({ ctx: deps.people, personId: session.personId, by: null });
      return off.kind === 'off' ? answer(200, { status: 'two_factor_off' }) : notEnrolled();
    },
  });
