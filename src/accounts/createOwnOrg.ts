import { newOrgId, type OrgId } from '../domain/ids.js';
import { nameOf } from './actor.js';
import { claimKey, type IdempotencyKey } from './claimKey.js';
import type { AccountsContext, Projected } from './context.js';
import { ORG_VIEW, type Org } from './org.js';

/** Of one person: those that are open, and those that were made and closed within a day. The database counts them. */
export const OWN_ORGS_MAX = 20;

export type CreatedOwnOrg =
  | { readonly kind: 'created'; readonly org: Org; readonly effect: Projected }
  | { readonly kind: 'too_many_orgs' }
  | { readonly kind: 'idempotency_mismatch' };

/** A further organization, of whoever makes it. Its wallet is empty: credits to try came with the personal one, once. */
export async function createOwnOrg(what: {
  ctx: AccountsContext;
  personId: string;
  input: { readonly name: string; readonly time_zone: string };
  key?: IdempotencyKey | undefined;
}): Promise<CreatedOwnOrg> {
  const { ctx, personId, input } = what;
  let orgId = newOrgId();
  if (what.key) {
    const claim = await claimKey({ ctx, key: what.key, memo: orgId });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    orgId = claim.memo as OrgId;
  }
  const made = await ctx.db.query<{ org: Org }>(
    `
    with o as (
      insert into organizations (org_id, name, kind, time_zone, made_by) values ($1, $2, 'team', $3, $4)
      on conflict (org_id) do nothing returning *
    ), m as (
      insert into org_members (org_id, person_id, role_id) select org_id, $4, 'owner' from o
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select org_id, $5, 'org.create', org_id, jsonb_build_object('after', jsonb_build_object('name', name, 'owner', $4::text)) from o
    )
    select ${ORG_VIEW} as org from o`,
    [orgId, input.name, input.time_zone, personId, nameOf(ctx.actor)],
    { idempotent: true },
  );
  const org = made[0]?.org ?? (await existing(ctx, orgId));
  return org ? { kind: 'created', org, effect: await ctx.project.org(orgId) } : { kind: 'too_many_orgs' };
}

async function existing({ db }: AccountsContext, orgId: OrgId): Promise<Org | undefined> {
  const row = await db.one<{ org: Org }>(`select ${ORG_VIEW} as org from organizations o where org_id = $1`, [orgId], {
    idempotent: true,
  });
  return row?.org;
}
