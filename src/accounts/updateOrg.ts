import type { OrgId } from '../domain/ids.js';
import { nameOf } from './actor.js';
import type { AccountsContext, Projected } from './context.js';
import { ORG_VIEW, type Org, type OrgChanges } from './org.js';

export type UpdatedOrg =
  | { readonly kind: 'updated'; readonly before: Org; readonly org: Org; readonly effect: Projected }
  | { readonly kind: 'unknown_org' }
  /** Somebody else was first: this is how it looks now. */
  | { readonly kind: 'changed'; readonly org: Org };

/** Changes what an organization may do. One statement: the row, and the line in the audit log that says so. */
export async function updateOrg(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  changes: OrgChanges;
  ifMatch: string | null;
  /** For the audit log. */
  reason?: string | null;
}): Promise<UpdatedOrg> {
  const { ctx, orgId } = what;
  const { db } = ctx;
  const rows = await db.query<{ old: Org; new: Org | null }>(
    `
    with o as (
      select * from organizations where org_id = $1 for update
    ), seen as (
      select org_id, ${ORG_VIEW} as view, to_jsonb(o) - '${QUIET}'::text[] as facts from o
    ), changed as (
      update organizations t set
        (name, status, overdraft, monthly_limit, limit_action, critical_ceiling, price_group, prices, time_zone, max_token_quota) = (
          select r.name, r.status, r.overdraft, r.monthly_limit, r.limit_action, r.critical_ceiling, r.price_group, r.prices, r.time_zone,
            r.max_token_quota
          from jsonb_populate_record(t, $2::text::jsonb) r),
        closed_at = case when $2::text::jsonb->>'status' = 'active' then null else t.closed_at end,
        limits_changed_by = case when $2::text::jsonb ?| array['monthly_limit', 'limit_action', 'critical_ceiling'] then $4 else t.limits_changed_by end
      from seen where t.org_id = seen.org_id and ($3::text is null or seen.view->>'etag' = $3::text)
      returning t.*
    ), after as (
      select org_id, ${ORG_VIEW} as view, to_jsonb(o) - '${QUIET}'::text[] as facts from changed o
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select after.org_id, $4, 'org.update', after.org_id, jsonb_strip_nulls(jsonb_build_object('reason', $5::text)) || jsonb_build_object(
        'before', (select jsonb_object_agg(key, value) from jsonb_each(seen.facts) where after.facts->key is distinct from value),
        'after', (select jsonb_object_agg(key, value) from jsonb_each(after.facts) where seen.facts->key is distinct from value))
      from after join seen using (org_id) where after.facts is distinct from seen.facts
    )
    select seen.view as old, after.view as new from seen left join after using (org_id)`,
    [orgId, JSON.stringify(what.changes), what.ifMatch, nameOf(ctx.actor), what.reason ?? null],
    { idempotent: what.ifMatch === null },
  );
  const row = rows[0];
  if (!row) return { kind: 'unknown_org' };
  if (!row.new) return { kind: 'changed', org: row.old };
  return { kind: 'updated', before: row.old, org: row.new, effect: await ctx.project.org(orgId) };
}

const QUIET = '{limits_changed_by,terms_version,projected_version,updated_at}';
