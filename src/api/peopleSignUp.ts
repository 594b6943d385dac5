import { z } from '@hono/zod-openapi';
import { askings, askingsFrom, countTry } from '../accounts/people/attempts.js';
import { ensureHome } from '../accounts/people/home.js';
import { resendVerification, verifyEmail } from '../accounts/people/links.js';
import { setUpOperator } from '../accounts/people/operators.js';
import { busy } from '../accounts/people/signIn.js';
import { signUp } from '../accounts/people/signUp.js';
import type { ApiDeps } from './deps.js';
import {
  badPassword,
  EmailIn,
  hashingBusy,
  LinkTokenIn,
  NameIn,
  NewPasswordIn,
  StatusSchema,
  tooManyTries,
  visitor,
} from './peopleShape.js';
import { invalid, type Problem, refused } from './problem.js';
import { answer, type From, type Route, route } from './route.js';

export const signUpRoutes = (deps: ApiDeps): readonly Route[] => [
  signUpRoute(deps),
  verifyRoute(deps),
  resendRoute(deps),
  setUpRoute(deps),
];

const SignedUpSchema = z.strictObject({ status: z.literal('accepted'), next: z.enum(['sign_in', 'verify_email']) }).openapi('SignedUp');

const signUpRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/sign-up',
    permission: 'public',
    summary: 'Make an account; the answer is the same for an address that has one',
    tag: 'people',
    body: z.strictObject({
      email: EmailIn,
      password: NewPasswordIn,
      name: NameIn.optional(),
      organization_name: NameIn.optional(),
      invitation: LinkTokenIn.optional(),
    }),
    answers: { 202: { description: 'Accepted; `next` is what to do', schema: SignedUpSchema } },
    handle: async ({ body, from }) => {
      const weak = badPassword('/password', body.password, body.email);
      if (weak) return weak;
      const late = await asked(deps, from, 'sign-up', body.email);
      if (late) return late;
      const input = {
        email: body.email,
        password: body.password,
        name: body.name ?? nameIn(body.email),
        organizationName: body.organization_name ?? null,
        invitation: body.invitation ?? null,
      };
      const made = await signUp({ ctx: deps.people, input }).catch(busy);
      switch (made.kind) {
        case 'accepted':
          return answer(202, { status: 'accepted', next: made.next });
        case 'closed':
          return refused(
            403,
            'sign_up_closed',
            'Accounts are made by invitation here. Ask somebody who has one, or whoever runs this server.',
          );
        case 'domain_not_allowed':
          return invalid([{ pointer: '/email', code: 'domain_not_allowed', message: 'Addresses of this domain cannot sign up here.' }]);
        case 'busy':
          return hashingBusy();
      }
    },
  });

/** Counts one more call of something that anybody may call, and says when the next may be made; `email`: whom it concerns. */
export async function asked(deps: ApiDeps, from: From, what: string, email: string | null): Promise<Problem | undefined> {
  const { address } = visitor(deps.people, from);
  const waitMs = await countTry(deps.people, email === null ? askingsFrom(what, address) : askings(what, email, address));
  return waitMs > 0 ? tooManyTries(waitMs) : undefined;
}

const verifyRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/email/verify',
    permission: 'public',
    summary: 'Confirm an address by the link of the mail',
    tag: 'people',
    body: z.strictObject({ token: LinkTokenIn }),
    answers: { 200: { description: 'Confirmed; sign in now', schema: StatusSchema('verified') } },
    handle: async ({ body, from }) => {
      const late = await asked(deps, from, 'verify', null);
      if (late) return late;
      const done = await verifyEmail({ ctx: deps.people, token: body.token });
      if (done.kind === 'link_over') return linkOver();
      await ensureHome(deps.people, done.personId);
      return answer(200, { status: 'verified' });
    },
  });

export const linkOver = (): Problem => refused(410, 'link_over', 'This link was used already, or its time is over. Ask for another one.');

const resendRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/email/resend',
    permission: 'public',
    summary: 'Send the link again; the answer is the same for every address',
    tag: 'people',
    body: z.strictObject({ email: EmailIn }),
    answers: { 202: { description: 'Sent, if it is needed', schema: StatusSchema('accepted') } },
    handle: async ({ body, from }) => {
      const late = await asked(deps, from, 'resend', body.email);
      if (late) return late;
      if (deps.people.mailer.provesAddresses) await resendVerification({ ctx: deps.people, email: body.email });
      return answer(202, { status: 'accepted' });
    },
  });

const setUpRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: '/api/v1/auth/setup',
    permission: 'public',
    summary: 'Make the account of the first operator, by the link the server printed when it started',
    tag: 'people',
    body: z.strictObject({ token: LinkTokenIn, email: EmailIn, password: NewPasswordIn, name: NameIn.optional() }),
    answers: { 201: { description: 'Made; sign in now', schema: StatusSchema('made') } },
    handle: async ({ body, from }) => {
      const weak = badPassword('/password', body.password, body.email);
      if (weak) return weak;
      const late = await asked(deps, from, 'setup', null);
      if (late) return late;
      const input = { email: body.email, password: body.password, name: body.name ?? nameIn(body.email) };
      const done = await setUpOperator({ ctx: deps.people, token: body.token, input }).catch(busy);
      switch (done.kind) {
        case 'made':
          deps.people.onFirstOperator();
          return answer(201, { status: 'made' });
        case 'link_over':
          return linkOver();
        case 'address_taken':
          return invalid([{ pointer: '/email', code: 'address_taken', message: 'This address has an account already. Use another one.' }]);
        case 'busy':
          return hashingBusy();
      }
    },
  });

const nameIn = (email: string): string => email.slice(0, email.indexOf('@'));
