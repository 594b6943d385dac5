import type { OrgId, TokenId } from '../../domain/ids.js';
import { heldBy, isProved, nameOf } from '../actor.js';
import { type AccountsContext, type Page, type Projected, pageOf } from '../context.js';
import { QUOTA_TOKENS_MAX } from '../token.js';

/** A person in an organization. Names and addresses are with the people; amounts are micro-credits. */
export interface Member {
  readonly org_id: string;
  readonly person_id: string;
  readonly role_id: string;
  readonly role_name: string;
  readonly monthly_quota: number | null;
  /** What this person's tokens were charged in the month that runs, booked charges only. */
  readonly month_spent: number;
  readonly tokens: number;
  readonly created_at: string;
  readonly etag: string;
}

/** Why a membership stays as it is. */
export type MemberRefusal =
  | { readonly kind: 'unknown_member' }
  | { readonly kind: 'unknown_role' }
  /** Nobody gives, changes or takes a role that allows more than their own does. */
  | { readonly kind: 'beyond_own_role' }
  /** Somebody has to own an organization. */
  | { readonly kind: 'last_owner' }
  /** Who becomes or stops being an owner is decided by people who have just shown that it is them. */
  | { readonly kind: 'step_up_required' };

export type AddedMember =
  | { readonly kind: 'added'; readonly member: Member }
  /** Belongs to it already, in the role that is in `member`; that is not changed here. */
  | { readonly kind: 'already_member'; readonly member: Member }
  | { readonly kind: 'unknown_org' }
  | Extract<MemberRefusal, { kind: 'unknown_role' | 'beyond_own_role' | 'step_up_required' }>;

export async function addMember(what: {
  ctx: Pick<AccountsContext, 'db' | 'clock' | 'actor'>;
  orgId: OrgId;
  personId: string;
  roleId: string;
}): Promise<AddedMember> {
  const { ctx, orgId, personId, roleId } = what;
  if (roleId === 'owner' && !isProved(ctx.actor)) return { kind: 'step_up_required' };
  const row = await ctx.db.one<{ org: boolean; role: readonly string[] | null; added: boolean }>(
    `
    with given as (
      select r.role_id, r.permissions from roles r where r.role_id = $3 and (r.org_id is null or r.org_id = $1)
    ), added as (
      insert into org_members (org_id, person_id, role_id)
      select o.org_id, $2, g.role_id from given g join organizations o on o.org_id = $1 where g.permissions <@ $4::text[]
      on conflict (org_id, person_id) do nothing returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, $5, 'member.add', person_id, jsonb_build_object('after', jsonb_build_object('role_id', role_id)) from added
    )
    select exists (select from organizations where org_id = $1) as org, (select permissions from given) as role,
      exists (select from added) as added`,
    [orgId, personId, roleId, heldBy(ctx.actor), nameOf(ctx.actor)],
    { idempotent: true },
  );
  if (!row?.org) return { kind: 'unknown_org' };
  if (!row.role) return { kind: 'unknown_role' };
  const member = await readMember({ ctx, orgId, personId });
  if (!member) return { kind: 'beyond_own_role' };
  return { kind: row.added ? 'added' : 'already_member', member };
}

/** What becomes of the tokens of somebody who leaves; there is no default. */
export type TokensOfLeaver =
  /** They go on and are the organization's from now on. */
  { readonly kind: 'keep' } | { readonly kind: 'reassign'; readonly to: string } | { readonly kind: 'revoke' };

export async function removeMember(what: { ctx: AccountsContext; orgId: OrgId; personId: string; tokens: TokensOfLeaver }): Promise<
  | { readonly kind: 'removed'; readonly tokens: number; readonly effect: Projected }
  /** Whoever is to have the tokens does not belong to the organization, or is the one who leaves. */
  | { readonly kind: 'unknown_heir' }
  /** They have a monthly quota, which so many tokens cannot share. */
  | { readonly kind: 'too_many_tokens' }
  | Exclude<MemberRefusal, { kind: 'unknown_role' }>
> {
  const { ctx, orgId, personId, tokens } = what;
  const heir = tokens.kind === 'reassign' ? tokens.to : null;
  const row = await ctx.db.one<{
    member: boolean;
    within: boolean;
    proved: boolean;
    heir: boolean;
    fits: boolean;
    removed: boolean;
    tokens: readonly TokenId[];
  }>(
    `
    with ${OWNERS}, heir as (
      select m.person_id from org_members m where m.org_id = $1 and m.person_id = $4 and m.person_id <> $2 for key share
    ), room as (
      select coalesce((select quota_token_count($1, h.person_id) from heir h)
        + (select count(*) from quota_tokens($1, $2)), 0) <= ${QUOTA_TOKENS_MAX} as fits
    ), ${SEEN}, removed as (
      delete from org_members m using seen s
      where m.org_id = s.org_id and m.person_id = s.person_id and s.permissions <@ $5::text[]
        and ($3::text <> 'reassign' or exists (select from heir) and (select fits from room)) and ($7 or m.role_id <> 'owner')
        and (m.role_id <> 'owner' or exists (select from owners o where o.person_id <> $2))
      returning m.org_id, m.person_id, m.role_id
    ), passed as (
      update tokens t set owner_id = (select person_id from heir), status = case when $3::text = 'revoke' then 'revoked' else t.status end
      from removed d where t.org_id = d.org_id and t.owner_id = d.person_id
      returning t.org_id, t.token_id, t.status
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select d.org_id, $6, 'member.remove', d.person_id, jsonb_build_object('before', jsonb_build_object('role_id', d.role_id), 'tokens', $3::text,
        'reassigned_to', $4::text, 'token_ids', (select coalesce(jsonb_agg(p.token_id order by p.token_id), '[]') from passed p))
      from removed d
    )
    select exists (select from seen) as member, coalesce((select permissions <@ $5::text[] from seen), false) as within,
      $7 or not exists (select from seen s where s.role_id = 'owner') as proved, exists (select from heir) as heir, (select fits from room) as fits, exists (select from removed) as removed, array(select token_id from passed) as tokens`,
    [orgId, personId, tokens.kind, heir, heldBy(ctx.actor), nameOf(ctx.actor), isProved(ctx.actor)],
  );
  if (!row?.member) return { kind: 'unknown_member' };
  if (!row.within) return { kind: 'beyond_own_role' };
  if (!row.proved) return { kind: 'step_up_required' };
  if (tokens.kind === 'reassign' && !row.heir) return { kind: 'unknown_heir' };
  if (tokens.kind === 'reassign' && !row.fits) return { kind: 'too_many_tokens' };
  if (!row.removed) return { kind: 'last_owner' };
  const told = tokens.kind === 'revoke' ? await projectAll(ctx, row.tokens) : 'projected';
  const shared = await ctx.project.members(orgId);
  return { kind: 'removed', tokens: row.tokens.length, effect: shared === 'projected' ? told : shared };
}

/** What one statement cannot tell at once the worker tells later; until then the answer says so. */
async function projectAll(ctx: AccountsContext, tokens: readonly TokenId[]): Promise<Projected> {
  let effect: Projected = 'projected';
  for (let at = 0; at < tokens.length; at += 20) {
    const told = await Promise.all(tokens.slice(at, at + 20).map((tokenId) => ctx.project.token(tokenId)));
    if (told.includes('unavailable')) effect = 'unavailable';
  }
  return effect;
}

type Reading = Pick<AccountsContext, 'db' | 'clock'>;

/** In the order in which they came. */
export async function listMembers(what: {
  ctx: Reading;
  orgId: OrgId;
  after: { readonly createdAt: string; readonly personId: string } | null;
  limit: number;
}): Promise<Page<Member>> {
  const { ctx, orgId, after, limit } = what;
  const rows = await ctx.db.query<{ member: Member }>(
    `
    select ${MEMBER_VIEW} as member from org_members m join roles r on r.role_id = m.role_id
    where m.org_id = $1 and ($3::text is null or (m.created_at, m.person_id) > ($4::text::timestamptz, $3::text))
    order by m.created_at, m.person_id limit $5::int`,
    [orgId, new Date(ctx.clock.nowMs()), after?.personId ?? null, after?.createdAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ member }) => member),
    limit,
  );
}

export async function readMember(what: { ctx: Reading; orgId: OrgId; personId: string }): Promise<Member | undefined> {
  const { ctx, orgId, personId } = what;
  const row = await ctx.db.one<{ member: Member }>(
    `
    select ${MEMBER_VIEW} as member from org_members m join roles r on r.role_id = m.role_id where m.org_id = $1 and m.person_id = $3`,
    [orgId, new Date(ctx.clock.nowMs()), personId],
    { idempotent: true },
  );
  return row?.member;
}

/** Of the membership `m`: its role and quota, and when they were last changed. Not what its tokens spend. */
const ETAG = `left(md5(concat_ws('|', m.role_id, m.monthly_quota, extract(epoch from m.updated_at))), 16)`;

/**
 * Every owner of the organization $1, locked in one order. Whoever waited here sees them as they are now: an owner who
 * was demoted or removed meanwhile is no longer among them.
 */
export const OWNERS = `owners as materialized (
      select o.person_id from org_members o where o.org_id = $1 and o.role_id = 'owner' order by o.person_id for update
    )`;

/** The member $2 as it is now; locked after the owners, so that no two changes wait for each other. */
export const SEEN = `seen as materialized (
      select m.org_id, m.person_id, m.role_id, m.monthly_quota, ${ETAG} as etag,
        (select r.permissions from roles r where r.role_id = m.role_id) as permissions
      from org_members m where (select count(*) from owners) >= 0 and m.org_id = $1 and m.person_id = $2 for update
    )`;

/** The row `m` with its role `r`, at the moment $2. */
const MEMBER_VIEW = `
  jsonb_build_object('org_id', m.org_id, 'person_id', m.person_id, 'role_id', m.role_id, 'role_name', r.name,
    'monthly_quota', m.monthly_quota, 'created_at', m.created_at, 'etag', ${ETAG})
    || (select jsonb_build_object('tokens', count(*) filter (where t.status <> 'revoked'),
        'month_spent', coalesce(sum(u.monthly) filter (where u.monthly_ends_at > $2::timestamptz), 0))
      from tokens t join token_use u using (token_id) where t.org_id = m.org_id and t.owner_id = m.person_id)`;
