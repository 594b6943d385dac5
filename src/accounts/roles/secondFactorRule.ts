import type { OrgId } from '../../domain/ids.js';
import { nameOf } from '../actor.js';
import type { AccountsContext } from '../context.js';

/** Whether an organization lets in only members who sign in with a second factor. */
export interface SecondFactorRule {
  readonly required: boolean;
  readonly changed_by: string | null;
  readonly changed_at: string | null;
  /** Who has none, in the order in which they joined; at most so many. */
  readonly without: readonly { readonly person_id: string; readonly email: string; readonly name: string }[];
}

const LISTED_MAX = 500;

export async function readSecondFactorRule(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: OrgId;
}): Promise<SecondFactorRule | undefined> {
  const row = await what.ctx.db.one<{ rule: SecondFactorRule }>(
    `
    select jsonb_build_object('required', coalesce(s.two_factor_required, false), 'changed_by', s.changed_by, 'changed_at', s.changed_at,
      'without', (select coalesce(jsonb_agg(jsonb_build_object('person_id', w.person_id, 'email', w.email, 'name', w.name)), '[]') from (
        select p.person_id, p.email, p.name from org_members m join people p using (person_id)
        where m.org_id = o.org_id and not p.two_factor order by m.created_at, m.person_id limit $2::int) w)) as rule
    from organizations o left join org_security s using (org_id) where o.org_id = $1`,
    [what.orgId, LISTED_MAX],
    { idempotent: true },
  );
  return row?.rule;
}

/** In force for the very next call of everybody; whoever has no second factor may still set one up, or leave. */
export async function setSecondFactorRule(what: {
  ctx: Pick<AccountsContext, 'db' | 'actor'>;
  orgId: OrgId;
  required: boolean;
}): Promise<SecondFactorRule | undefined> {
  const { ctx, orgId, required } = what;
  await ctx.db.query(
    `
    with o as (
      select org_id from organizations where org_id = $1 for key share
    ), before as (
      select coalesce(bool_or(two_factor_required), false) as required from org_security where org_id = $1
    ), written as (
      insert into org_security as s (org_id, two_factor_required, changed_by) select org_id, $2, $3 from o, before b where b.required <> $2
      on conflict (org_id) do update set two_factor_required = excluded.two_factor_required, changed_by = excluded.changed_by, changed_at = now()
      where s.two_factor_required <> excluded.two_factor_required
      returning org_id
    )
    insert into audit_log (org_id, actor, action, subject, details)
    select org_id, $3, 'org.two_factor', org_id, jsonb_build_object(
      'before', jsonb_build_object('required', not $2::boolean), 'after', jsonb_build_object('required', $2::boolean)) from written`,
    [orgId, required, nameOf(ctx.actor)],
    { idempotent: true },
  );
  return readSecondFactorRule(what);
}
