import type { OrgId } from '../../domain/ids.js';
import { digestOf } from '../../domain/secrets.js';
import type { Projections } from '../context.js';
import { removeMember } from '../roles/members.js';
import type { PeopleContext } from './context.js';
import type { SignedIn } from './session.js';

/** Why somebody cannot go yet. `organization` is the name of the one it is about. */
export type Staying =
  /** Others belong to it, and nobody else owns it. */
  | { readonly kind: 'last_owner'; readonly organization: string }
  /** Nobody else is in it, and there are credits. Micro-credits. */
  | { readonly kind: 'credits_left'; readonly organization: string; readonly credits: number }
  /** Nobody else is in it, and it owes. */
  | { readonly kind: 'owing'; readonly organization: string; readonly credits: number };

interface Belonging {
  readonly org_id: OrgId;
  readonly name: string;
  readonly others: boolean;
  readonly owned_by_others: boolean;
  readonly avail: number;
  readonly debt: number;
}

/** The digest by which somebody who left is known again, for the trial credits alone. */
export const leftDigest = (ctx: Pick<PeopleContext, 'pepper'>, email: string): string => digestOf(`left ${email}`, ctx.pepper);

/**
 * Deletes an account. What belongs to others stays theirs, an organization of nobody is closed, and of the person only the id
 * is left, because books and audit log name it. Every step can be repeated: whoever is cut off repeats the call.
 */
export async function leaveForGood(what: {
  ctx: PeopleContext;
  me: SignedIn;
  /** Credits that are left may lapse. */
  forfeit: boolean;
}): Promise<{ readonly kind: 'gone' } | Staying> {
  const { ctx, me } = what;
  const belongings = await belongingsOf(ctx, me.personId);
  for (const one of belongings) {
    const staying = stayingFor(one, what.forfeit);
    if (staying) return staying;
  }
  const actor = { kind: 'system', part: 'account deletion' } as const;
  for (const { org_id, others, name } of belongings) {
    if (!others) await closeOrg({ ctx, orgId: org_id, personId: me.personId, project: ctx.project });
    else {
      const left = await removeMember({ ctx: { ...ctx, actor }, orgId: org_id, personId: me.personId, tokens: { kind: 'keep' } });
      if (left.kind === 'last_owner') return { kind: 'last_owner', organization: name };
    }
  }
  await forget(ctx, me);
  ctx.mailer.send({ kind: 'account_deleted', to: me.email, link: `${ctx.publicUrl}/` });
  return { kind: 'gone' };
}

function stayingFor(one: Belonging, forfeit: boolean): Staying | undefined {
  if (one.others && !one.owned_by_others) return { kind: 'last_owner', organization: one.name };
  if (!one.others && one.debt < 0) return { kind: 'owing', organization: one.name, credits: -one.debt };
  if (!one.others && one.avail > 0 && !forfeit) return { kind: 'credits_left', organization: one.name, credits: one.avail };
  return undefined;
}

const belongingsOf = ({ db }: PeopleContext, personId: string): Promise<Belonging[]> =>
  db.query<Belonging>(
    `
    select o.org_id, o.name, b.avail, b.debt,
      exists (select from org_members x where x.org_id = m.org_id and x.person_id <> m.person_id) as others,
      m.role_id <> 'owner' or exists (
        select from org_members x where x.org_id = m.org_id and x.person_id <> m.person_id and x.role_id = 'owner') as owned_by_others
    from org_members m join organizations o using (org_id) join org_balances b using (org_id)
    where m.person_id = $1 order by o.org_id`,
    [personId],
    { idempotent: true },
  );

/** An organization without people spends nothing any more and takes nobody in; its books stay. */
async function closeOrg(what: { ctx: PeopleContext; orgId: OrgId; personId: string; project: Projections }): Promise<void> {
  const { ctx, orgId, personId, project } = what;
  await ctx.db.query(
    `
    with o as (
      select org_id from organizations where org_id = $1
        and not exists (select from org_members where org_id = $1 and person_id <> $2) for update
    ), closed as (
      update organizations t set status = 'suspended', closed_at = coalesce(t.closed_at, now()), name = 'Closed organization' from o where t.org_id = o.org_id returning t.org_id
    ), gone as (
      delete from org_members m using o where m.org_id = o.org_id and m.person_id = $2
    ), uninvited as (
      update invitations i set revoked_at = now() from o
      where i.org_id = o.org_id and i.accepted_at is null and i.revoked_at is null
    ), revoked as (
      update tokens t set status = 'revoked' from o where t.org_id = o.org_id and t.status <> 'revoked'
    ), keys as (
      update management_keys k set revoked_at = now(), updated_at = now() from o where k.org_id = o.org_id and k.revoked_at is null
    )
    insert into audit_log (org_id, actor, action, subject) select org_id, 'person:' || $2, 'org.close', org_id from closed`,
    [orgId, personId],
    { idempotent: true },
  );
  await project.org(orgId);
}

/** One statement: nothing says any more who this was, and nothing lets them in. */
async function forget(ctx: PeopleContext, me: SignedIn): Promise<void> {
  await ctx.db.query(
    `
    with p as (
      update people set email = person_id || '@left.invalid', email_verified = false, name = 'Somebody who left', image = null, home_name = null,
        two_factor = false, operator_role = null, preferences = '{}', known_devices = '{}', last_sign_in_at = null,
        disabled_at = coalesce(disabled_at, now()), left_at = now(), left_digest = $2
      where person_id = $1 and left_at is null returning person_id
    ), ended as (
      delete from sessions s using p where s.person_id = p.person_id
    ), logins as (
      delete from logins l using p where l.person_id = p.person_id
    ), factors as (
      delete from two_factors f using p where f.person_id = p.person_id
    ), links as (
      delete from person_links l using p where l.person_id = p.person_id
    ), invited as (
      update invitations i set email = p.person_id || '@left.invalid',
        revoked_at = case when i.accepted_at is null then coalesce(i.revoked_at, now()) end
      from p where i.email = $3 or i.accepted_by = p.person_id
    )
    insert into audit_log (actor, action, subject) select 'person:' || person_id, 'person.delete', person_id from p`,
    [me.personId, leftDigest(ctx, me.email), me.email],
    { idempotent: true },
  );
}
