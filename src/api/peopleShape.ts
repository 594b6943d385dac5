import { z } from '@hono/zod-openapi';
import { PASSWORD_MAX, PASSWORD_MIN, passwordProblem } from '../accounts/people/passwords.js';
import type { People } from '../accounts/people/people.js';
import type { SignedIn } from '../accounts/people/session.js';
import { type Visitor, visitorOf } from '../accounts/people/visitor.js';
import { conflict, invalid, type Problem, signInFailed, tooMany, tryAgain } from './problem.js';
import type { From } from './route.js';
import { text } from './schemas.js';

/** Addresses are kept in small letters: two people cannot differ in nothing else. */
export const EmailIn = z
  .string()
  .trim()
  .max(254, 'At most 254 characters.')
  .transform((value) => value.toLowerCase())
  .pipe(z.email('Write an e-mail address such as ada@example.com.'))
  .openapi({ type: 'string', format: 'email', example: 'ada@example.com' });

/** A password as it was typed, to be compared. */
export const PasswordIn = z
  .string()
  .min(1, 'Write the password here.')
  .max(2 * PASSWORD_MAX, 'This is longer than any password here.')
  .openapi({ type: 'string', format: 'password' });

/** A password to be set. */
export const NewPasswordIn = z
  .string()
  .max(4 * PASSWORD_MAX, `At most ${PASSWORD_MAX} characters.`)
  .openapi({
    type: 'string',
    format: 'password',
    minLength: PASSWORD_MIN,
    maxLength: PASSWORD_MAX,
    example: 'four words you will remember',
  });

export const LinkTokenIn = z
  .string()
  .max(200, 'This is not the text of one of our links.')
  .openapi({ description: 'What follows #token= in the link of the mail' });

export const CodeIn = z.string().trim().min(6, 'Write the code here.').max(20, 'A code has at most 20 characters.');
export const NameIn = text(200);

export const PersonSchema = z
  .strictObject({
    id: z.string(),
    email: z.string(),
    name: z.string(),
    two_factor: z.boolean(),
    operator_role: z.enum(['operator.admin', 'operator.support', 'operator.finance']).nullable(),
  })
  .openapi('Person');

export const personOut = (me: SignedIn): z.input<typeof PersonSchema> => ({
  id: me.personId,
  email: me.email,
  name: me.name,
  two_factor: me.twoFactor,
  operator_role: me.operatorRole,
});

export const StatusSchema = <Words extends readonly [string, ...string[]]>(...words: Words) => z.strictObject({ status: z.enum(words) });

export const visitor = (people: People, from: From): Visitor => visitorOf(from.headers, from.address, people.publicUrl);

/** Why a new password will not do, as a field of the body. */
export function badPassword(pointer: string, password: string, email: string): Problem | undefined {
  const message = passwordProblem(password, email);
  return message === undefined ? undefined : invalid([{ pointer, code: 'weak_password', message }]);
}

export const tooManyTries = (waitMs: number): Problem =>
  tooMany('too_many_attempts', `Too many tries. Try again in ${Math.max(1, Math.ceil(waitMs / 1000))} seconds.`, waitMs);

export const hashingBusy = (): Problem =>
  tryAgain('sign_in_busy', 'Many people are signing in at this moment. Try again in a few seconds.');

/** The noes that checking a password or code can give. */
export function refusedTry(
  refused: { readonly kind: 'wrong' | 'busy' } | { readonly kind: 'too_many'; readonly waitMs: number },
  says: string,
): Problem {
  if (refused.kind === 'too_many') return tooManyTries(refused.waitMs);
  return refused.kind === 'busy' ? hashingBusy() : signInFailed('not_right', says);
}

export const WRONG_PASSWORD = 'This is not the password.';

export function badCode(
  refused: { readonly kind: 'wrong' | 'busy' | 'not_enrolled' } | { readonly kind: 'too_many'; readonly waitMs: number } = {
    kind: 'wrong',
  },
): Problem {
  if (refused.kind === 'not_enrolled') return notEnrolled();
  return refusedTry(
    refused.kind === 'too_many' ? refused : { kind: refused.kind },
    'This code is not right, or no longer. Use the one your app shows now.',
  );
}

export const notEnrolled = (): Problem => conflict('two_factor_off', 'Two-factor sign-in is not switched on for this account.');
