import { countTry, forgiveTry, guesses, guessesFrom } from './attempts.js';
import type { PeopleContext } from './context.js';
import { outward } from './cookies.js';
import { linkTo } from './links.js';
import type { SignedIn } from './session.js';
import { markProved } from './sessions.js';
import { arrive, busy, type SignIn } from './signIn.js';
import type { Visitor } from './visitor.js';

type Refusal = { readonly kind: 'wrong' } | { readonly kind: 'busy' } | { readonly kind: 'too_many'; readonly waitMs: number };

export type Enrolled =
  | { readonly kind: 'enrolled'; readonly uri: string; readonly secret: string; readonly backupCodes: readonly string[] }
  | { readonly kind: 'already_on' }
  | Refusal;

/** Makes a secret for an authenticator app. It counts from the first code on that is right. */
export async function enroll(what: { ctx: PeopleContext; visitor: Visitor; me: SignedIn; password: string | null }): Promise<Enrolled> {
  const { ctx, visitor, me } = what;
  if (me.twoFactor) return { kind: 'already_on' };
  const tries = guesses('password', me.email, visitor.address);
  const waitMs = await countTry(ctx, tries);
  if (waitMs > 0) return { kind: 'too_many', waitMs };
  const { auth, ask } = await ctx.engine.library();
  const body = { method: 'totp' as const, ...(what.password === null ? {} : { password: what.password }) };
  const asked = await ask(() => auth.api.enableTwoFactor({ body, headers: visitor.headers, returnHeaders: true })).catch(busy);
  if (asked.kind === 'busy') return asked;
  if (asked.kind === 'refused') return asked.code === 'TOTP_ALREADY_ENABLED' ? { kind: 'already_on' } : { kind: 'wrong' };
  await forgiveTry(ctx, tries);
  if (!('totpURI' in asked.response)) throw new Error('no secret was made for an authenticator app');
  const uri = asked.response.totpURI;
  return { kind: 'enrolled', uri, secret: new URL(uri).searchParams.get('secret') ?? '', backupCodes: asked.response.backupCodes };
}

export type Confirmed = { readonly kind: 'confirmed'; readonly cookies: readonly string[] } | { readonly kind: 'not_enrolled' } | Refusal;

/** A code of somebody who is signed in: switches the second factor on, or shows once more who they are. */
export async function confirmCode(what: { ctx: PeopleContext; visitor: Visitor; me: SignedIn; code: string }): Promise<Confirmed> {
  const { ctx, visitor, me, code } = what;
  const tries = guesses('code', me.email, visitor.address);
  const waitMs = await countTry(ctx, tries);
  if (waitMs > 0) return { kind: 'too_many', waitMs };
  const { auth, ask } = await ctx.engine.library();
  const asked = await ask(() => auth.api.verifyTOTP({ body: { code }, headers: visitor.headers, returnHeaders: true }));
  if (asked.kind === 'refused') return asked.code === 'TOTP_NOT_ENABLED' ? { kind: 'not_enrolled' } : { kind: 'wrong' };
  await forgiveTry(ctx, tries);
  // Switching it on opens a new session, which is proved by being new.
  if (me.twoFactor) await markProved({ ctx, sessionId: me.sessionId });
  return { kind: 'confirmed', cookies: outward(asked.cookies, visitor.transport) };
}

/** The code after the password, from the app or from the list of backup codes, each of which works once. */
export async function signInByCode(what: {
  ctx: PeopleContext;
  visitor: Visitor;
  code: string;
  source: 'totp' | 'backup_code';
}): Promise<SignIn | { readonly kind: 'no_challenge' }> {
  const { ctx, visitor, code, source } = what;
  const tries = guessesFrom(visitor.address);
  const waitMs = await countTry(ctx, tries);
  if (waitMs > 0) return { kind: 'too_many', waitMs };
  const { auth, ask } = await ctx.engine.library();
  const given = { body: { code }, headers: visitor.headers, returnHeaders: true } as const;
  const asked = await ask<{ token?: string | undefined; user: { id: string } }>(() =>
    source === 'totp' ? auth.api.verifyTOTP(given) : auth.api.verifyBackupCode(given),
  );
  if (asked.kind === 'refused') {
    if (asked.code === 'ACCOUNT_TEMPORARILY_LOCKED') return { kind: 'too_many', waitMs: LOCKED_MS };
    return NO_CHALLENGE.has(asked.code) ? { kind: 'no_challenge' } : { kind: 'wrong' };
  }
  await forgiveTry(ctx, tries);
  const { token, user } = asked.response;
  if (token === undefined) return { kind: 'no_challenge' };
  if (source === 'totp' && (await wasUsed(ctx, user.id, code))) {
    await ctx.db.query('delete from sessions where token_digest = $1', [ctx.engine.digest(token)], { idempotent: true });
    return { kind: 'wrong' };
  }
  return arrive({ ctx, visitor, personId: user.id, token, cookies: asked.cookies });
}

/** A code is good for as long as the library takes it, a minute and a half, but opens one session only: somebody may have seen it. */
const wasUsed = async (ctx: PeopleContext, personId: string, code: string): Promise<boolean> =>
  (await countTry(ctx, [{ name: `code ${code} of ${personId}`, most: 1, windowS: 180 }])) > 0;

const LOCKED_MS = 900_000;
const NO_CHALLENGE = new Set([
  'INVALID_TWO_FACTOR_COOKIE',
  'TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE',
  'TOTP_NOT_ENABLED',
  'BACKUP_CODES_NOT_ENABLED',
]);

export type NewCodes = { readonly kind: 'made'; readonly backupCodes: readonly string[] } | { readonly kind: 'not_enrolled' } | Refusal;

/** Ten new backup codes; the old ones are worthless from then on. */
export async function renewBackupCodes(what: {
  ctx: PeopleContext;
  visitor: Visitor;
  me: SignedIn;
  password: string | null;
}): Promise<NewCodes> {
  const { ctx, visitor, me } = what;
  if (!me.twoFactor) return { kind: 'not_enrolled' };
  const tries = guesses('password', me.email, visitor.address);
  const waitMs = await countTry(ctx, tries);
  if (waitMs > 0) return { kind: 'too_many', waitMs };
  const { auth, ask } = await ctx.engine.library();
  const body = what.password === null ? {} : { password: what.password };
  const asked = await ask(() => auth.api.generateBackupCodes({ body, headers: visitor.headers, returnHeaders: true })).catch(busy);
  if (asked.kind !== 'answered') return asked.kind === 'busy' ? asked : { kind: 'wrong' };
  await forgiveTry(ctx, tries);
  await ctx.db.query(`insert into audit_log (actor, action, subject) values ('person:' || $1, 'person.backup_codes_renewed', $1)`, [
    me.personId,
  ]);
  return { kind: 'made', backupCodes: asked.response.backupCodes };
}

/** Switches it off; by whom is in the audit log, which the same statement writes, and the person gets a mail. */
export async function switchOffSecondFactor(what: {
  ctx: PeopleContext;
  personId: string;
  by: string | null;
}): Promise<{ kind: 'off' | 'not_enrolled' }> {
  const { ctx, personId, by } = what;
  const row = await ctx.db.one<{ email: string }>(
    `update people set two_factor = false, two_factor_reset_by = $2 where person_id = $1 and two_factor returning email`,
    [personId, by],
  );
  if (!row) return { kind: 'not_enrolled' };
  const at = `${new Date(ctx.clock.nowMs()).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  ctx.mailer.send({ kind: 'two_factor_off', to: row.email, link: linkTo(ctx, 'account/security'), at });
  return { kind: 'off' };
}
