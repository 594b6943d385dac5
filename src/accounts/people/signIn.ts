import { createHash } from 'node:crypto';
import { countTry, forgiveTry, guesses } from './attempts.js';
import type { PeopleContext } from './context.js';
import { outward } from './cookies.js';
import { ensureHome } from './home.js';
import { linkTo, resendVerification } from './links.js';
import { PasswordsBusy } from './passwords.js';
import type { Visitor } from './visitor.js';

export type SignIn =
  | { readonly kind: 'signed_in'; readonly personId: string; readonly cookies: readonly string[] }
  /** The password was right; a code is asked for next. */
  | { readonly kind: 'second_factor'; readonly cookies: readonly string[] }
  /** No such address, or another password. */
  | { readonly kind: 'wrong' }
  | { readonly kind: 'unverified' }
  | { readonly kind: 'disabled' }
  | { readonly kind: 'busy' }
  | { readonly kind: 'too_many'; readonly waitMs: number };

/** Signs somebody in by password. An unknown address takes as long as a wrong password and gets the same answer. */
export async function signIn(what: {
  ctx: PeopleContext;
  input: { readonly email: string; readonly password: string; readonly remember: boolean };
  visitor: Visitor;
}): Promise<SignIn> {
  const { ctx, input, visitor } = what;
  const tries = guesses('password', input.email, visitor.address);
  const waitMs = await countTry(ctx, tries);
  if (waitMs > 0) return { kind: 'too_many', waitMs };
  const { auth, ask } = await ctx.engine.library();
  const body = { email: input.email, password: input.password, rememberMe: input.remember };
  const asked = await ask(() => auth.api.signInEmail({ body, headers: visitor.headers, returnHeaders: true })).catch(busy);
  if (asked.kind !== 'answered') return asked.kind === 'busy' ? asked : { kind: 'wrong' };
  await forgiveTry(ctx, tries);
  const { response, cookies } = asked;
  if ('twoFactorRedirect' in response) return { kind: 'second_factor', cookies: outward(cookies, visitor.transport) };
  return arrive({ ctx, visitor, personId: response.user.id, token: response.token, cookies });
}

export function busy(error: unknown): { readonly kind: 'busy' } {
  if (error instanceof PasswordsBusy) return { kind: 'busy' };
  throw error;
}

const DEVICES_MAX = 20;

/**
 * Every way in ends here, before the browser is given anything: the sign-in is in the audit log, or there is none. Who
 * may not come in loses the session that was opened.
 */
export async function arrive(what: {
  ctx: PeopleContext;
  visitor: Visitor;
  personId: string;
  token: string;
  cookies: readonly string[];
}): Promise<Extract<SignIn, { kind: 'signed_in' | 'unverified' | 'disabled' }>> {
  const { ctx, visitor, personId, token, cookies } = what;
  const digest = ctx.engine.digest(token);
  const before = visitor.token === undefined ? null : ctx.engine.digest(visitor.token);
  const row = await ctx.db.one<Arrival>(
    `
    with before as (
      select * from people where person_id = $1 for update
    ), may as (
      select b.person_id, b.disabled_at is null and (b.email_verified or not $5::boolean) as come_in from before b
    ), came as (
      update people p set last_sign_in_at = now(),
        known_devices = (array[$3::text] || array_remove(p.known_devices, $3::text))[1:$4::int]
      from may where p.person_id = may.person_id and may.come_in
    ), turned_away as (
      delete from sessions s using may where s.token_digest = $2 and not may.come_in
    ), replaced as (
      delete from sessions s using may where s.token_digest = $8::text and s.token_digest <> $2 and may.come_in
    ), audited as (
      insert into audit_log (actor, action, subject, details)
      select 'person:' || person_id, case when come_in then 'session.create' else 'session.refuse' end, person_id,
        jsonb_build_object('address', $6::text, 'user_agent', $7::text) from may
    )
    select b.email, b.disabled_at is not null as disabled, may.come_in, b.home_ready_at is not null as home_ready,
      b.last_sign_in_at is not null and not ($3::text = any (b.known_devices)) as new_device
    from before b join may using (person_id)`,
    [personId, digest, deviceOf(visitor), DEVICES_MAX, ctx.mailer.provesAddresses, visitor.address, visitor.userAgent, before],
  );
  if (!row) throw new Error('a session was opened for a person who is not there');
  if (row.disabled) return { kind: 'disabled' };
  if (!row.come_in) {
    await resendVerification({ ctx, email: row.email });
    return { kind: 'unverified' };
  }
  if (!row.home_ready) await ensureHome(ctx, personId);
  if (row.new_device) announce(ctx, row.email, visitor);
  return { kind: 'signed_in', personId, cookies: outward(cookies, visitor.transport) };
}

interface Arrival {
  readonly email: string;
  readonly disabled: boolean;
  readonly come_in: boolean;
  readonly home_ready: boolean;
  readonly new_device: boolean;
}

/** A browser in a part of the network, so that a new address from the same provider is no news. */
function deviceOf({ userAgent, address }: Visitor): string {
  const network = address.includes(':') ? address.split(':').slice(0, 2).join(':') : address.split('.').slice(0, 2).join('.');
  return createHash('sha256').update(`${network} ${userAgent}`).digest('base64url').slice(0, 22);
}

function announce(ctx: PeopleContext, email: string, visitor: Visitor): void {
  const at = `${new Date(ctx.clock.nowMs()).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  const link = linkTo(ctx, 'account/sessions');
  ctx.mailer.send({ kind: 'new_sign_in', to: email, link, at, address: visitor.address, device: visitor.userAgent || 'unknown' });
}
