import { newOrgId, type OrgId } from '../domain/ids.js';
import { nameOf } from './actor.js';
import { claimKey, type IdempotencyKey } from './claimKey.js';
import type { AccountsContext, Projected } from './context.js';
import { ORG_VIEW, type Org } from './org.js';

export type CreatedOrg =
  | { readonly kind: 'created'; readonly org: Org; readonly effect: Projected }
  | { readonly kind: 'idempotency_mismatch' };

/** An organization starts with an empty wallet; credits come by grants alone. */
export async function createOrg(what: {
  ctx: AccountsContext;
  input: { readonly name: string; readonly kind?: Org['kind'] };
  key?: IdempotencyKey | undefined;
}): Promise<CreatedOrg> {
  const { ctx, input } = what;
  let orgId = newOrgId();
  if (what.key) {
    const claim = await claimKey({ ctx, key: what.key, memo: orgId });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    orgId = claim.memo as OrgId;
  }
  const { db } = ctx;
  const made = await db.query<{ org: Org }>(
    `
    with o as (
      insert into organizations (org_id, name, kind) values ($1, $2, $3)
      on conflict (org_id) do nothing returning *
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select o.org_id, $4, 'org.create', o.org_id, jsonb_build_object('after', jsonb_build_object('name', o.name)) from o
    )
    select ${ORG_VIEW} as org from o`,
    [orgId, input.name, input.kind ?? 'team', nameOf(ctx.actor)],
    { idempotent: true },
  );
  const rows =
    made.length > 0
      ? made
      : await db.query<{ org: Org }>(`select ${ORG_VIEW} as org from organizations o where org_id = $1`, [orgId], { idempotent: true });
  const org = rows[0]?.org;
  if (!org) throw new Error(`organization ${orgId} was neither made nor found`);
  return { kind: 'created', org, effect: await ctx.project.org(orgId) };
}
