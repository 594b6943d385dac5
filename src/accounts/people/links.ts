import { base62, newTimedId } from '../../domain/ids.js';
import { digestOf } from '../../domain/secrets.js';
import type { PeopleContext } from './context.js';

/** What a link in a mail carries. Only its digest is stored. */
export const newLinkToken = (): string => base62(40);
export const linkDigest = (ctx: Pick<PeopleContext, 'pepper'>, token: string): string => digestOf(`link ${token}`, ctx.pepper);

/** After the # the text stays in the browser: no log of a server or proxy and no referrer has it. */
export const linkTo = (ctx: Pick<PeopleContext, 'publicUrl'>, page: string, token?: string): string =>
  `${ctx.publicUrl}/${page}${token === undefined ? '' : `#token=${token}`}`;

export const RESET_MINUTES = 60;
export const VERIFY_HOURS = 24;

/** Sends a link to set a new password, if there is such a person. The answer is the same if there is not. */
export async function forgotPassword(what: { ctx: PeopleContext; email: string }): Promise<void> {
  const { ctx, email } = what;
  const token = newLinkToken();
  const row = await ctx.db.one<{ email: string }>(
    `
    with p as (
      select person_id, email from people where email = $1 and disabled_at is null
    ), l as (
      insert into person_links (digest, kind, person_id, expires_at)
      select $2, 'reset', person_id, now() + make_interval(mins => $3) from p on conflict (digest) do nothing
    ), audited as (
      insert into audit_log (actor, action, subject) select 'system:sign-in', 'person.reset_asked', person_id from p
    )
    select email from p`,
    [email, linkDigest(ctx, token), RESET_MINUTES],
  );
  if (row) ctx.mailer.send({ kind: 'reset', to: row.email, link: linkTo(ctx, 'reset-password', token), minutes: RESET_MINUTES });
}

/**
 * Sets a new password. One statement: the link is used up, the password stands, every session ends and every other link
 * of this person is worthless, or none of that.
 */
export async function resetPassword(what: {
  ctx: PeopleContext;
  token: string;
  password: string;
}): Promise<{ kind: 'reset' | 'link_over' }> {
  const { ctx } = what;
  const digest = linkDigest(ctx, what.token);
  const good = await ctx.db.one(
    'select 1 as good from person_links where digest = $1 and kind = $2 and used_at is null and expires_at > now()',
    [digest, 'reset'],
  );
  if (!good) return { kind: 'link_over' };
  const hash = await ctx.passwords.hash(what.password);
  const row = await ctx.db.one<{ email: string }>(
    `
    with l as (
      update person_links set used_at = now() where digest = $1 and kind = 'reset' and used_at is null and expires_at > now()
      returning person_id
    ), others as (
      update person_links o set used_at = now() from l where o.person_id = l.person_id and o.used_at is null and o.digest <> $1
    ), password as (
      insert into logins as x (login_id, person_id, provider_id, account_id, password)
      select $2, person_id, 'credential', person_id, $3 from l
      on conflict (person_id, provider_id) do update set password = excluded.password, updated_at = now()
    ), ended as (
      delete from sessions s using l where s.person_id = l.person_id
    ), proven as (
      update people p set email_verified = true from l where p.person_id = l.person_id returning p.person_id, p.email
    ), audited as (
      insert into audit_log (actor, action, subject) select 'person:' || person_id, 'person.password_reset', person_id from l
    )
    select email from proven`,
    [digest, newTimedId('aut'), hash],
  );
  if (!row) return { kind: 'link_over' };
  ctx.mailer.send({ kind: 'password_changed', to: row.email, link: linkTo(ctx, 'forgot-password') });
  return { kind: 'reset' };
}

/** Proves an address. The password that counts is the one of the sign-up this very link was sent for. */
export async function verifyEmail(what: {
  ctx: PeopleContext;
  token: string;
}): Promise<{ kind: 'verified'; personId: string } | { kind: 'link_over' }> {
  const { ctx } = what;
  const row = await ctx.db.one<{ person_id: string }>(
    `
    with l as (
      update person_links set used_at = now() where digest = $1 and kind = 'verify' and used_at is null and expires_at > now()
      returning person_id, password
    ), others as (
      update person_links o set used_at = now() from l where o.person_id = l.person_id and o.used_at is null and o.digest <> $1
        and o.kind = 'verify'
    ), before as (
      select p.person_id, p.email_verified from people p join l using (person_id) for update of p
    ), password as (
      update logins x set password = l.password, updated_at = now() from l join before b using (person_id)
      where x.person_id = l.person_id and x.provider_id = 'credential' and l.password is not null and not b.email_verified
    ), proven as (
      update people p set email_verified = true from before b where p.person_id = b.person_id and not b.email_verified returning p.person_id
    ), audited as (
      insert into audit_log (actor, action, subject) select 'person:' || person_id, 'person.verify_email', person_id from proven
    )
    select person_id from l`,
    [linkDigest(ctx, what.token)],
  );
  return row ? { kind: 'verified', personId: row.person_id } : { kind: 'link_over' };
}

/** Sends the link again to whoever has not followed one yet, and says whether that was so. `by`: an operator, for the audit log. */
export async function resendVerification(what: { ctx: PeopleContext; email: string; by?: string }): Promise<boolean> {
  const { ctx, email, by = null } = what;
  const token = newLinkToken();
  const row = await ctx.db.one<{ email: string }>(
    `
    with p as (
      select person_id, email from people where email = $1 and not email_verified and disabled_at is null
    ), l as (
      insert into person_links (digest, kind, person_id, expires_at)
      select $2, 'verify', person_id, now() + make_interval(hours => $3) from p on conflict (digest) do nothing
    ), audited as (
      insert into audit_log (actor, action, subject) select $4::text, 'person.resend_verification', person_id from p where $4::text is not null
    )
    select email from p`,
    [email, linkDigest(ctx, token), VERIFY_HOURS, by],
  );
  if (row) ctx.mailer.send({ kind: 'verify', to: row.email, link: linkTo(ctx, 'verify-email', token) });
  return row !== undefined;
}
