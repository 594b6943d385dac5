import type { OrgId } from '../../domain/ids.js';
import { heldBy, isProved, nameOf } from '../actor.js';
import type { AccountsContext, Projected } from '../context.js';
import { QUOTA_TOKENS_MAX } from '../token.js';
import { type Member, type MemberRefusal, OWNERS, readMember, SEEN } from './members.js';

/** What may be changed about a membership; what is not named stays. */
export interface MemberChanges {
  readonly roleId?: string | undefined;
  /** What the tokens of this person may spend in a month, together; null lifts it. */
  readonly monthlyQuota?: number | null | undefined;
}

export type ChangedMember =
  | { readonly kind: 'changed'; readonly member: Member; readonly effect: Projected }
  /** Somebody else was first: this is how it looks now. */
  | { readonly kind: 'changed_meanwhile'; readonly member: Member }
  /** Each request looks at all tokens that share a quota. */
  | { readonly kind: 'too_many_tokens' }
  | MemberRefusal;

/**
 * Gives a member another role, another quota, or both or neither: one statement. Nobody changes somebody whose role allows
 * more than their own. Of two people who give up the last two ownerships at once, one is refused.
 */
export async function changeMember(what: {
  ctx: Pick<AccountsContext, 'db' | 'clock' | 'actor' | 'project'>;
  orgId: OrgId;
  personId: string;
  changes: MemberChanges;
  ifMatch?: string | null;
}): Promise<ChangedMember> {
  const { ctx, orgId, personId, changes } = what;
  const isQuota = changes.monthlyQuota !== undefined;
  const verdict = await ctx.db.one<Verdict>(
    CHANGE,
    [
      ...[orgId, personId, changes.roleId ?? null, heldBy(ctx.actor), nameOf(ctx.actor), isProved(ctx.actor)],
      ...[isQuota, changes.monthlyQuota ?? null, what.ifMatch ?? null],
    ],
    { idempotent: (what.ifMatch ?? null) === null },
  );
  const refusal = refusalOf(verdict);
  if (refusal) return refusal;
  const effect = isQuota && verdict?.fresh ? await ctx.project.members(orgId) : 'projected';
  const member = await readMember({ ctx, orgId, personId });
  if (!member) return { kind: 'unknown_member' };
  return verdict?.fresh ? { kind: 'changed', member, effect } : { kind: 'changed_meanwhile', member };
}

interface Verdict {
  /** As the caller believed it to be. */
  readonly fresh: boolean;
  readonly known: boolean;
  readonly within: boolean;
  readonly proved: boolean;
  readonly owned: boolean;
  readonly fits: boolean;
}

function refusalOf(verdict: Verdict | undefined): MemberRefusal | { readonly kind: 'too_many_tokens' } | undefined {
  if (!verdict) return { kind: 'unknown_member' };
  if (!verdict.known) return { kind: 'unknown_role' };
  if (!verdict.within) return { kind: 'beyond_own_role' };
  if (!verdict.proved) return { kind: 'step_up_required' };
  if (!verdict.fresh) return undefined;
  if (!verdict.owned) return { kind: 'last_owner' };
  return verdict.fits ? undefined : { kind: 'too_many_tokens' };
}

const CHANGE = `
  with ${OWNERS}, given as (
    select r.role_id, r.permissions from roles r where r.role_id = $3 and (r.org_id is null or r.org_id = $1)
  ), ${SEEN}, verdict as materialized (
    select s.*, s.is_moved is not true or g.role_id is not null as known, $9::text is null or s.etag = $9 as fresh,
      s.permissions <@ $4::text[] and (s.is_moved is not true or g.permissions <@ $4::text[]) as within,
      s.is_moved is not true or $6 or (s.role_id <> 'owner' and $3 <> 'owner') as proved,
      s.is_moved is not true or s.role_id <> 'owner' or exists (select from owners o where o.person_id <> $2) as owned,
      not $7 or $8::bigint is null or (select count(*) from quota_tokens($1, $2)) <= ${QUOTA_TOKENS_MAX} as fits
    from (select s.*, $3::text <> s.role_id as is_moved from seen s) s left join given g on true
  ), changed as (
    update org_members m set role_id = coalesce($3, m.role_id), monthly_quota = case when $7 then $8::bigint else m.monthly_quota end,
      updated_at = now()
    from verdict v where m.org_id = v.org_id and m.person_id = v.person_id and v.known and v.fresh and v.within and v.proved and v.owned and v.fits
      and (v.is_moved or $7 and m.monthly_quota is distinct from $8::bigint)
    returning m.org_id, m.person_id, m.role_id, m.monthly_quota
  ), audited as (
    insert into audit_log (org_id, actor, action, subject, details)
    select c.org_id, $5, line.action, c.person_id, jsonb_build_object('before', line.before, 'after', line.after)
    from changed c join seen s using (person_id) cross join lateral (
      select 'member.change_role', jsonb_build_object('role_id', s.role_id), jsonb_build_object('role_id', c.role_id) where s.role_id <> c.role_id
      union all
      select 'member.quota', jsonb_build_object('monthly_quota', s.monthly_quota), jsonb_build_object('monthly_quota', c.monthly_quota)
      where s.monthly_quota is distinct from c.monthly_quota
    ) line (action, before, after)
  )
  select fresh, known, coalesce(within, false) as within, proved, owned, fits from verdict`;
