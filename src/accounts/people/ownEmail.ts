import type { PeopleContext } from './context.js';
import { linkDigest, linkTo, newLinkToken, VERIFY_HOURS } from './links.js';
import type { SignedIn } from './session.js';

/**
 * Sends a link to the address somebody wants from now on. Nothing changes before it is followed; of an address that has an
 * account nobody learns that it has.
 */
export async function askForEmail(what: { ctx: PeopleContext; me: SignedIn; email: string }): Promise<void> {
  const { ctx, me, email } = what;
  const token = newLinkToken();
  const row = await ctx.db.one<{ sent: boolean }>(
    `
    with older as (
      update person_links set used_at = now() where person_id = $1 and kind = 'email' and used_at is null
    ), l as (
      insert into person_links (digest, kind, person_id, email, expires_at)
      select $2, 'email', $1, $3, now() + make_interval(hours => $4) where not exists (select from people where email = $3)
      on conflict (digest) do nothing returning digest
    ), audited as (
      insert into audit_log (actor, action, subject) values ('person:' || $1, 'person.email_asked', $1)
    )
    select exists (select from l) as sent`,
    [me.personId, linkDigest(ctx, token), email, VERIFY_HOURS],
  );
  if (row?.sent) ctx.mailer.send({ kind: 'new_email', to: email, link: linkTo(ctx, 'confirm-email', token) });
}

/**
 * The address of the link is the person's own by the statement that ends every session but `keep` and every other link; the
 * old address is told.
 */
export async function confirmEmail(what: {
  ctx: PeopleContext;
  token: string;
  keep: string | null;
}): Promise<{ readonly kind: 'changed' } | { readonly kind: 'link_over' }> {
  const { ctx } = what;
  const row = await ctx.db.one<{ before: string; after: string }>(
    `
    with l as (
      update person_links set used_at = now() where digest = $1 and kind = 'email' and used_at is null and expires_at > now()
      returning person_id, email
    ), before as (
      select p.person_id, p.email from people p join l using (person_id) where p.disabled_at is null for update of p
    ), changed as (
      update people p set email = l.email, email_verified = $2::boolean from l join before b using (person_id)
      where p.person_id = l.person_id and not exists (select from people o where o.email = l.email)
      returning p.person_id, p.email
    ), others as (
      update person_links o set used_at = now() from changed c where o.person_id = c.person_id and o.used_at is null and o.digest <> $1
    ), ended as (
      delete from sessions s using changed c where s.person_id = c.person_id and s.session_id is distinct from $3::text
    ), audited as (
      insert into audit_log (actor, action, subject) select 'person:' || person_id, 'person.email_change', person_id from changed
    )
    select b.email as before, c.email as after from changed c join before b using (person_id)`,
    [linkDigest(ctx, what.token), ctx.mailer.provesAddresses, what.keep],
  );
  if (!row) return { kind: 'link_over' };
  ctx.mailer.send({ kind: 'email_changed', to: row.before, link: linkTo(ctx, 'sign-in') });
  return { kind: 'changed' };
}
