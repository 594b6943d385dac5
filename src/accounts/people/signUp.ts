import { newPersonId, newTimedId } from '../../domain/ids.js';
import type { PeopleContext } from './context.js';
import { ensureHome } from './home.js';
import { isInvited, openInvitation } from './invitations.js';
import { linkDigest, linkTo, newLinkToken, VERIFY_HOURS } from './links.js';

export interface SignUpInput {
  readonly email: string;
  readonly password: string;
  readonly name: string;
  readonly organizationName: string | null;
  /** The text of an invitation's link: lets somebody in where sign-up is closed, and proves the address. */
  readonly invitation: string | null;
}

export type SignedUp =
  /** Said for a new address and a known one alike. */
  | { readonly kind: 'accepted'; readonly next: 'sign_in' | 'verify_email' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'domain_not_allowed' };

/** Makes an account. Repeating it makes nothing twice, and nobody learns from the answer whether there was one. */
export async function signUp(what: { ctx: PeopleContext; input: SignUpInput }): Promise<SignedUp> {
  const { ctx, input } = what;
  const invited = input.invitation === null ? undefined : await openInvitation(ctx, input.invitation);
  const hasLink = invited !== undefined && invited.email === input.email;
  if (!ctx.signUp.enabled && !hasLink) return { kind: 'closed' };
  if (!hasLink && !domainAllowed(ctx, input.email)) return { kind: 'domain_not_allowed' };
  const mustProve = ctx.mailer.provesAddresses && !hasLink;
  const token = newLinkToken();
  // Before anybody knows whether it is needed: the time an answer takes says nothing either.
  const hash = await ctx.passwords.hash(input.password);
  const row = await insert(ctx, input, { hash, linkDigest: mustProve ? linkDigest(ctx, token) : null, isProven: hasLink });
  if (mustProve) {
    const isNew = row.made || !row.proven;
    if (isNew) ctx.mailer.send({ kind: 'verify', to: input.email, link: linkTo(ctx, 'verify-email', token) });
    else ctx.mailer.send({ kind: 'already_registered', to: input.email, link: linkTo(ctx, 'sign-in') });
    return { kind: 'accepted', next: 'verify_email' };
  }
  // Not waited for, so that a new address takes no longer than a known one; signing in finishes it if it is cut off.
  ensureHome(ctx, row.personId).catch(() => undefined);
  return { kind: 'accepted', next: 'sign_in' };
}

/** Why somebody with this proven address may not have an account; null: they may. Whoever is invited always may. */
export async function joining(ctx: Pick<PeopleContext, 'db' | 'signUp'>, email: string): Promise<string | null> {
  const why = ctx.signUp.enabled ? (domainAllowed(ctx, email) ? null : 'domain_not_allowed') : 'sign_up_closed';
  return why === null || (await isInvited(ctx, email)) ? null : why;
}

function domainAllowed(ctx: Pick<PeopleContext, 'signUp'>, email: string): boolean {
  const { allowedDomains } = ctx.signUp;
  return allowedDomains === null || allowedDomains.includes(email.slice(email.lastIndexOf('@') + 1));
}

/** The person, the password and the link of the mail by one statement; a person who is there stays as they are. */
async function insert(
  ctx: PeopleContext,
  input: SignUpInput,
  made: { readonly hash: string; readonly linkDigest: string | null; readonly isProven: boolean },
): Promise<{ readonly made: boolean; readonly proven: boolean; readonly personId: string }> {
  const row = await ctx.db.one<{ made: boolean; proven: boolean; person_id: string }>(
    `
    with made as (
      insert into people (person_id, email, name, home_name, email_verified) values ($1, $2, $3, $4, $8)
      on conflict (email) do nothing returning person_id, email_verified
    ), login as (
      insert into logins (login_id, person_id, provider_id, account_id, password)
      select $5, person_id, 'credential', person_id, $6 from made
    ), who as (
      select person_id, email_verified, true as made from made
      union all select person_id, email_verified, false from people where email = $2 and not exists (select from made)
    ), link as (
      insert into person_links (digest, kind, person_id, password, expires_at)
      select $7, 'verify', person_id, $6, now() + make_interval(hours => $9) from who where $7::text is not null and not email_verified
      on conflict (digest) do nothing
    )
    select person_id, email_verified as proven, made from who`,
    [
      newPersonId(),
      input.email,
      input.name,
      input.organizationName,
      newTimedId('aut'),
      made.hash,
      made.linkDigest,
      made.isProven,
      VERIFY_HOURS,
    ],
    { idempotent: true },
  );
  // Somebody made it between the insert and the look: the statement saw neither.
  if (!row) return insert(ctx, input, made);
  return { made: row.made, proven: row.proven, personId: row.person_id };
}
