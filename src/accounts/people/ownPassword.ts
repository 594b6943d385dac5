import { newTimedId } from '../../domain/ids.js';
import { countTry, forgiveTry, guesses } from './attempts.js';
import type { PeopleContext } from './context.js';
import { linkTo } from './links.js';
import type { SignedIn } from './session.js';
import { busy } from './signIn.js';
import type { Visitor } from './visitor.js';

export type Checked =
  | { readonly kind: 'right' }
  /** Signs in with a provider only; there is nothing to compare with. */
  | { readonly kind: 'none' }
  | { readonly kind: 'wrong' }
  | { readonly kind: 'busy' }
  | { readonly kind: 'too_many'; readonly waitMs: number };

/** Whether this is the password of the person who is signed in. Tries are counted like those of signing in. */
export async function checkPassword(what: {
  ctx: PeopleContext;
  visitor: Visitor;
  me: SignedIn;
  password: string | null;
}): Promise<Checked> {
  const { ctx, visitor, me, password } = what;
  const row = await ctx.db.one<{ password: string }>(
    `select password from logins where person_id = $1 and provider_id = 'credential'`,
    [me.personId],
    { idempotent: true },
  );
  if (!row) return { kind: 'none' };
  if (password === null) return { kind: 'wrong' };
  const tries = guesses('password', me.email, visitor.address);
  const waitMs = await countTry(ctx, tries);
  if (waitMs > 0) return { kind: 'too_many', waitMs };
  const right = await ctx.passwords.verify({ hash: row.password, password }).catch(busy);
  if (typeof right === 'object') return right;
  if (!right) return { kind: 'wrong' };
  await forgiveTry(ctx, tries);
  return { kind: 'right' };
}

/** Another password for somebody who is signed in. The same statement ends every other session and every open link. */
export async function changePassword(what: { ctx: PeopleContext; me: SignedIn; password: string }): Promise<void> {
  const { ctx, me } = what;
  const hash = await ctx.passwords.hash(what.password);
  await ctx.db.query(
    `
    with password as (
      insert into logins (login_id, person_id, provider_id, account_id, password) values ($2, $1, 'credential', $1, $3)
      on conflict (person_id, provider_id) do update set password = excluded.password, updated_at = now()
    ), ended as (
      delete from sessions where person_id = $1 and session_id <> $4
    ), links as (
      update person_links set used_at = now() where person_id = $1 and used_at is null
    ), proved as (
      update sessions set authenticated_at = now() where session_id = $4
    )
    insert into audit_log (actor, action, subject) values ('person:' || $1, 'person.password_change', $1)`,
    [me.personId, newTimedId('aut'), hash, me.sessionId],
    { idempotent: true },
  );
  ctx.mailer.send({ kind: 'password_changed', to: me.email, link: linkTo(ctx, 'forgot-password') });
}
