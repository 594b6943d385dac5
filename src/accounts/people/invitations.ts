import { newTimedId, type OrgId } from '../../domain/ids.js';
import { heldBy, nameOf } from '../actor.js';
import type { AccountsContext } from '../context.js';
import type { PeopleContext } from './context.js';
import { linkDigest, linkTo, newLinkToken } from './links.js';

/** An invitation as the organization sees it. */
export interface Invitation {
  readonly invitation_id: string;
  readonly email: string;
  readonly role_id: string;
  readonly role_name: string;
  readonly invited_by: string;
  readonly created_at: string;
  readonly sent_at: string;
  readonly expires_at: string;
}

/** The link is handed out only where no mail carries it. */
export type SentInvitation = Invitation & { readonly link: string | null };

export type Invited =
  | { readonly kind: 'invited'; readonly invitations: readonly SentInvitation[]; readonly alreadyMembers: readonly string[] }
  | { readonly kind: 'unknown_org' }
  | { readonly kind: 'unknown_role' }
  | { readonly kind: 'beyond_own_role' }
  | { readonly kind: 'too_many' };

type Inviting = PeopleContext & Pick<AccountsContext, 'actor'>;

const DAYS = 7;
const OPEN_MAX = 500;
const VIEW = `jsonb_build_object('invitation_id', i.invitation_id, 'email', i.email, 'role_id', i.role_id,
  'role_name', (select name from roles r where r.role_id = i.role_id), 'invited_by', i.invited_by, 'created_at', i.created_at,
  'sent_at', i.sent_at, 'expires_at', i.expires_at)`;
const OPEN = 'i.accepted_at is null and i.revoked_at is null';

/**
 * Invites several addresses at once; who is invited already gets a new link. Whether an address has an account here is
 * not said, only who belongs to the organization anyway.
 */
export async function invite(what: {
  ctx: Inviting;
  orgId: OrgId;
  emails: readonly string[];
  roleId: string;
  by: string;
}): Promise<Invited> {
  const { ctx, orgId, roleId } = what;
  const made = [...new Set(what.emails)].map((email) => ({ email, token: newLinkToken(), id: newTimedId('inv') }));
  const row = await ctx.db.one<{
    org: string | null;
    role: string | null;
    within: boolean;
    open: number;
    sent: Invitation[];
    members: string[];
  }>(
    `
    with o as (
      select org_id, name from organizations where org_id = $1
    ), given as (
      select r.role_id, r.name, r.permissions <@ $3::text[] as within from roles r where r.role_id = $2 and (r.org_id is null or r.org_id = $1)
    ), want as (
      select * from unnest($4::text[], $5::text[], $6::text[]) as w (email, digest, id)
    ), members as (
      select p.email from org_members m join people p using (person_id) join want using (email) where m.org_id = $1
    ), others as (
      select count(*)::int as open from invitations i where i.org_id = $1 and ${OPEN} and i.email not in (select email from want)
    ), sent as (
      insert into invitations as i (invitation_id, org_id, email, role_id, digest, invited_by, expires_at)
      select w.id, o.org_id, w.email, g.role_id, w.digest, $7, now() + make_interval(days => $8)
      from want w, o, given g, others where g.within and others.open + cardinality($4::text[]) <= $9 and w.email not in (select email from members)
      on conflict (org_id, email) where accepted_at is null and revoked_at is null do update set
        role_id = excluded.role_id, digest = excluded.digest, invited_by = excluded.invited_by, sent_at = now(), expires_at = excluded.expires_at
      returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, $7, 'invitation.send', invitation_id, jsonb_build_object('email', email, 'role_id', role_id) from sent
    )
    select (select name from o) as org, (select name from given) as role, coalesce((select within from given), false) as within,
      (select open from others) + cardinality($4::text[]) as open,
      coalesce((select jsonb_agg(${VIEW} order by i.email) from sent i), '[]') as sent, array(select email from members order by 1) as members`,
    [
      orgId,
      roleId,
      heldBy(ctx.actor),
      made.map(({ email }) => email),
      made.map(({ token }) => linkDigest(ctx, token)),
      made.map(({ id }) => id),
      nameOf(ctx.actor),
      DAYS,
      OPEN_MAX,
    ],
    { idempotent: true },
  );
  if (!row || row.org === null) return { kind: 'unknown_org' };
  if (row.role === null) return { kind: 'unknown_role' };
  if (!row.within) return { kind: 'beyond_own_role' };
  if (row.open > OPEN_MAX) return { kind: 'too_many' };
  const tokens = new Map(made.map(({ email, token }) => [email, token]));
  const { org, role, sent, members } = row;
  const invitations = sent.map((one) => post(ctx, one, { token: tokens.get(one.email) ?? '', by: what.by, organization: org, role }));
  return { kind: 'invited', invitations, alreadyMembers: members };
}

function post(
  ctx: PeopleContext,
  invitation: Invitation,
  letter: { readonly token: string; readonly by: string; readonly organization: string; readonly role: string },
): SentInvitation {
  const link = linkTo(ctx, 'invitation', letter.token);
  ctx.mailer.send({
    kind: 'invitation',
    to: invitation.email,
    link,
    by: letter.by,
    organization: letter.organization,
    role: letter.role,
    days: DAYS,
  });
  return { ...invitation, link: ctx.mailer.provesAddresses ? null : link };
}

/** All that can still be accepted or sent again, newest first. */
export async function listInvitations(what: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId }): Promise<readonly Invitation[]> {
  const rows = await what.ctx.db.query<{ invitation: Invitation }>(
    `
    select ${VIEW} as invitation from invitations i where i.org_id = $1 and ${OPEN} order by i.created_at desc, i.invitation_id desc limit $2`,
    [what.orgId, OPEN_MAX],
    { idempotent: true },
  );
  return rows.map(({ invitation }) => invitation);
}

/** Sends it again with a new link; the old link is worthless from then on. */
export async function resendInvitation(what: {
  ctx: Inviting;
  orgId: OrgId;
  invitationId: string;
  by: string;
}): Promise<{ readonly kind: 'sent'; readonly invitation: SentInvitation } | { readonly kind: 'unknown_invitation' }> {
  const { ctx } = what;
  const token = newLinkToken();
  const row = await ctx.db.one<{ invitation: Invitation; org: string }>(
    `
    with sent as (
      update invitations i set digest = $3, sent_at = now(), expires_at = now() + make_interval(days => $4)
      where i.org_id = $1 and i.invitation_id = $2 and ${OPEN} returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, $5, 'invitation.resend', invitation_id, jsonb_build_object('email', email) from sent
    )
    select ${VIEW} as invitation, (select name from organizations where org_id = $1) as org from sent i`,
    [what.orgId, what.invitationId, linkDigest(ctx, token), DAYS, nameOf(ctx.actor)],
    { idempotent: true },
  );
  if (!row) return { kind: 'unknown_invitation' };
  const letter = { token, by: what.by, organization: row.org, role: row.invitation.role_name };
  return { kind: 'sent', invitation: post(ctx, row.invitation, letter) };
}

export async function revokeInvitation(what: {
  ctx: Pick<AccountsContext, 'db' | 'actor'>;
  orgId: OrgId;
  invitationId: string;
}): Promise<{ readonly kind: 'revoked' | 'unknown_invitation' }> {
  const row = await what.ctx.db.one(
    `
    with gone as (
      update invitations i set revoked_at = now() where i.org_id = $1 and i.invitation_id = $2 and ${OPEN} returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, $3, 'invitation.revoke', invitation_id, jsonb_build_object('email', email) from gone
    )
    select invitation_id from gone`,
    [what.orgId, what.invitationId, nameOf(what.ctx.actor)],
  );
  return { kind: row ? 'revoked' : 'unknown_invitation' };
}

export interface OpenInvitation {
  readonly org_id: string;
  readonly org_name: string;
  readonly email: string;
  readonly role_name: string | null;
  readonly expires_at: Date;
}

/** The invitation a link stands for, as long as it can be accepted. */
export async function openInvitation(ctx: Pick<PeopleContext, 'db' | 'pepper'>, token: string): Promise<OpenInvitation | undefined> {
  return ctx.db.one<OpenInvitation>(
    `
    select i.org_id, o.name as org_name, i.email, r.name as role_name, i.expires_at
    from invitations i join organizations o using (org_id) left join roles r using (role_id)
    where i.digest = $1 and ${OPEN} and i.expires_at > now()`,
    [linkDigest(ctx, token)],
    { idempotent: true },
  );
}

export async function isInvited(ctx: Pick<PeopleContext, 'db'>, email: string): Promise<boolean> {
  const row = await ctx.db.one(
    `select 1 as one from invitations i where i.email = $1 and ${OPEN} and i.expires_at > now() limit 1`,
    [email],
    {
      idempotent: true,
    },
  );
  return row !== undefined;
}

export type Accepted =
  | { readonly kind: 'accepted'; readonly orgId: string }
  | { readonly kind: 'link_over' }
  /** It was sent to another address than that of whoever is signed in. */
  | { readonly kind: 'other_address' }
  /** The role was deleted after the invitation. */
  | { readonly kind: 'role_gone' };

/** Makes the person who is signed in a member. One statement: the link is used up and the membership stands, or neither. */
export async function acceptInvitation(what: {
  ctx: Pick<PeopleContext, 'db' | 'pepper'>;
  token: string;
  me: { readonly personId: string; readonly email: string };
}): Promise<Accepted> {
  const { ctx, me } = what;
  const row = await ctx.db.one<{ org_id: string; email: string; role: boolean; accepted: boolean }>(
    `
    with seen as materialized (
      select i.*, exists (select from roles r where r.role_id = i.role_id and (r.org_id is null or r.org_id = i.org_id)) as has_role
      from invitations i where i.digest = $1 and i.revoked_at is null
        and (i.accepted_by = $2 or (i.accepted_at is null and i.expires_at > now())) for update
    ), taken as (
      update invitations i set accepted_at = coalesce(i.accepted_at, now()), accepted_by = $2
      from seen s where i.invitation_id = s.invitation_id and s.email = $3 and s.has_role and s.accepted_at is null returning i.*
    ), joined as (
      insert into org_members (org_id, person_id, role_id) select org_id, $2, role_id from taken
      on conflict (org_id, person_id) do nothing returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select t.org_id, 'person:' || $2, 'invitation.accept', t.invitation_id, jsonb_build_object('email', t.email) from taken t
      union all
      select j.org_id, 'person:' || $2, 'member.add', j.person_id, jsonb_build_object('after', jsonb_build_object('role_id', j.role_id)) from joined j
    )
    select s.org_id, s.email, s.has_role as role, s.accepted_at is not null or exists (select from taken) as accepted from seen s`,
    [linkDigest(ctx, what.token), me.personId, me.email],
    { idempotent: true },
  );
  if (!row) return { kind: 'link_over' };
  if (row.accepted) return { kind: 'accepted', orgId: row.org_id };
  return { kind: row.email === me.email ? 'role_gone' : 'other_address' };
}
