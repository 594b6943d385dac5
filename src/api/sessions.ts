import { z } from '@hono/zod-openapi';
import { expired } from '../accounts/people/cookies.js';
import { checkPassword } from '../accounts/people/ownPassword.js';
import { confirmCode } from '../accounts/people/secondFactor.js';
import type { SignedIn } from '../accounts/people/session.js';
import { csrfToken, endSessions, listSessions, markProved } from '../accounts/people/sessions.js';
import { type SignIn, signIn } from '../accounts/people/signIn.js';
import type { ApiDeps } from './deps.js';
import {
  badCode,
  CodeIn,
  EmailIn,
  hashingBusy,
  PasswordIn,
  PersonSchema,
  personOut,
  refusedTry,
  StatusSchema,
  tooManyTries,
  visitor,
  WRONG_PASSWORD,
} from './peopleShape.js';
import { notFound, type Problem, refused, signInFailed, unauthorized } from './problem.js';
import { type Answer, answer, type Route, route } from './route.js';
import { TimeOut, timeOut } from './schemas.js';

export const sessionRoutes = (deps: ApiDeps): readonly Route[] => [
  signInRoute(deps),
  signOutRoute(deps),
  everywhereRoute(deps),
  confirmRoute(deps),
  readRoute(deps),
  listRoute(deps),
  endRoute(deps),
];

const SignInSchema = z
  .strictObject({
    /** `second_factor`: the password was right; send a code to /api/v1/auth/totp/verify next. */
    status: z.enum(['signed_in', 'second_factor']),
    /** Ways to give the second factor. */
    methods: z.array(z.enum(['totp', 'backup_code'])).optional(),
  })
  .openapi('SignIn');

const signInRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/sign-in',
    permission: 'public',
    summary: 'Sign in with e-mail address and password',
    tag: 'people',
    body: z.strictObject({ email: EmailIn, password: PasswordIn, remember: z.boolean().default(true) }),
    answers: { 200: { description: 'Signed in by the cookie that comes along, or a code is needed', schema: SignInSchema } },
    handle: async ({ body, from }) => signInAnswer(await signIn({ ctx: deps.people, input: body, visitor: visitor(deps.people, from) })),
  });

/** An unknown address and a wrong password are told with the same words. */
export function signInAnswer(result: SignIn): Answer | Problem {
  switch (result.kind) {
    case 'signed_in':
      return { ...answer(200, { status: 'signed_in' }), cookies: result.cookies };
    case 'second_factor':
      return { ...answer(200, { status: 'second_factor', methods: ['totp', 'backup_code'] }), cookies: result.cookies };
    case 'wrong':
      return signInFailed('sign_in_failed', 'The e-mail address or the password is not right.');
    case 'unverified':
      return refused(403, 'email_not_verified', 'This address is not confirmed yet. A new link was sent to it just now.');
    case 'disabled':
      return refused(403, 'account_disabled', 'This account has been disabled. Ask whoever runs this server.');
    case 'busy':
      return hashingBusy();
    case 'too_many':
      return tooManyTries(result.waitMs);
  }
}

const signOutRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/sign-out',
    permission: 'public',
    summary: 'End this session; without one, nothing happens',
    tag: 'people',
    answers: { 200: { description: 'Signed out', schema: StatusSchema('signed_out') } },
    handle: async ({ from }) => {
      const me = await deps.sessions.read(from.headers);
      if (me) await end(deps, me, { kind: 'one', sessionId: me.sessionId });
      return { ...answer(200, { status: 'signed_out' }), cookies: expired(visitor(deps.people, from).transport) };
    },
  });

const EndedSchema = z.strictObject({ ended: z.int() });

const everywhereRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/sign-out-everywhere',
    permission: 'session',
    summary: 'End all sessions, or all but this one',
    tag: 'people',
    body: z.strictObject({ keep_this: z.boolean().default(false) }),
    answers: { 200: { description: 'How many were ended', schema: EndedSchema } },
    handle: async ({ session, body, from }) => {
      if (!session) return noSession();
      const ended = await end(deps, session, body.keep_this ? { kind: 'all_but', sessionId: session.sessionId } : { kind: 'all' });
      const cookies = body.keep_this ? [] : expired(visitor(deps.people, from).transport);
      return { ...answer(200, { ended }), cookies };
    },
  });

const end = (deps: ApiDeps, me: SignedIn, ending: Parameters<typeof endSessions>[0]['ending']): Promise<number> =>
  endSessions({ ctx: deps.people, personId: me.personId, ending, actor: `person:${me.personId}` });

const confirmRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/confirm',
    permission: 'session',
    summary: 'Show that it is you, for what asks for it within ten minutes',
    tag: 'people',
    body: z
      .strictObject({ password: PasswordIn.optional(), code: CodeIn.optional() })
      .refine(({ password, code }) => (password === undefined) !== (code === undefined), 'Send either a password or a code.'),
    answers: { 200: { description: 'Confirmed', schema: StatusSchema('confirmed') } },
    handle: async ({ session, body, from }) => {
      if (!session) return noSession();
      const call = { ctx: deps.people, visitor: visitor(deps.people, from), me: session };
      if (body.code !== undefined) {
        if (!session.twoFactor) return badCode();
        const confirmed = await confirmCode({ ...call, code: body.code });
        return confirmed.kind === 'confirmed' ? answer(200, { status: 'confirmed' }) : badCode(confirmed);
      }
      const checked = await checkPassword({ ...call, password: body.password ?? null });
      if (checked.kind === 'none') return refused(409, 'no_password', 'This account has no password. Sign in again to confirm it is you.');
      if (checked.kind !== 'right') return refusedTry(checked, WRONG_PASSWORD);
      await markProved({ ctx: deps.people, sessionId: session.sessionId });
      return answer(200, { status: 'confirmed' });
    },
  });

const CurrentSchema = z
  .strictObject({
    person: PersonSchema.nullable(),
    session: z.strictObject({ id: z.string(), authenticated_at: TimeOut }).nullable(),
    /** To be sent as X-CSRF-Token where the client sends no Origin. */
    csrf_token: z.string().nullable(),
    /** Set when this way in is not safe from being read. */
    warning: z.string().nullable(),
    sign_up: z.strictObject({ open: z.boolean(), next: z.enum(['sign_in', 'verify_email']) }),
    providers: z.array(z.strictObject({ id: z.string(), label: z.string() })),
  })
  .openapi('CurrentSession');

const readRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/auth/session',
    permission: 'public',
    summary: 'Who is signed in here, and what a sign-in page has to know',
    tag: 'people',
    answers: { 200: { description: 'The session; person is null without one', schema: CurrentSchema } },
    handle: async ({ from }) => {
      const { people } = deps;
      const me = await deps.sessions.read(from.headers);
      const isPlain = visitor(people, from).transport === 'plain';
      return answer(200, {
        person: me ? personOut(me) : null,
        session: me ? { id: me.sessionId, authenticated_at: timeOut(me.authenticatedAt) } : null,
        csrf_token: me ? csrfToken(deps.pepper, me.sessionId) : null,
        warning: isPlain ? INSECURE : null,
        sign_up: { open: people.signUp.enabled, next: people.mailer.provesAddresses ? 'verify_email' : 'sign_in' },
        providers: people.providers,
      });
    },
  });

const INSECURE =
  'This page came over plain http: whoever can listen on the network can take over the session. Put https in front, and set server.public_url.';

const SessionSchema = z
  .strictObject({
    id: z.string(),
    current: z.boolean(),
    created_at: TimeOut,
    seen_at: TimeOut,
    expires_at: TimeOut,
    address: z.string().nullable(),
    user_agent: z.string().nullable(),
  })
  .openapi('Session');

const listRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/auth/sessions',
    permission: 'session',
    summary: 'Your sessions, newest first',
    tag: 'people',
    answers: { 200: { description: 'All of them', schema: z.strictObject({ data: z.array(SessionSchema) }) } },
    handle: async ({ session }) => {
      if (!session) return noSession();
      const rows = await listSessions({ ctx: deps.people, personId: session.personId });
      return answer(200, {
        data: rows.map((one) => ({
          id: one.session_id,
          current: one.session_id === session.sessionId,
          created_at: timeOut(one.created_at),
          seen_at: timeOut(one.seen_at),
          expires_at: timeOut(one.expires_at),
          address: one.ip_address,
          user_agent: one.user_agent,
        })),
      });
    },
  });

const endRoute = (deps: ApiDeps): Route =>
  route({
    method: 'delete',
    path: '/api/v1/auth/sessions/{session}',
    permission: 'session',
    summary: 'End one of your sessions',
    tag: 'people',
    params: z.object({ session: z.string().regex(/^ses_[0-9a-f]{32}$/) }),
    answers: { 200: { description: 'Ended', schema: EndedSchema } },
    handle: async ({ session, params, from }) => {
      if (!session) return noSession();
      const ended = await end(deps, session, { kind: 'one', sessionId: params.session });
      if (ended === 0) return notFound('You have no session with this id.');
      const cookies = params.session === session.sessionId ? expired(visitor(deps.people, from).transport) : [];
      return { ...answer(200, { ended }), cookies };
    },
  });

/** The guard lets nobody without one through to these routes. */
export const noSession = (): Problem => unauthorized('Sign in first.');
