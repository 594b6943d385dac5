import { newOrgId, type OrgId } from '../../domain/ids.js';
import type { PeopleContext } from './context.js';
import { leftDigest } from './leaveForGood.js';

const DAY_MS = 86_400_000;

/**
 * Gives a person the organization of their own and the credits to try it with. Every step can be repeated and none is
 * done twice, so whatever was cut off is finished by the next sign-in.
 */
export async function ensureHome(ctx: PeopleContext, personId: string): Promise<void> {
  const row = await ctx.db.one<{ org_id: OrgId; email: string }>(
    `
    with p as (
      update people t set home_org_id = coalesce(t.home_org_id, $2) where t.person_id = $1 and t.home_ready_at is null
      returning t.person_id, t.email, t.home_org_id as org_id, left(coalesce(t.home_name, t.name || '''s organization'), 200) as name
    ), o as (
      insert into organizations (org_id, name, kind) select org_id, name, 'personal' from p
      on conflict (org_id) do nothing returning org_id, name
    ), m as (
      insert into org_members (org_id, person_id, role_id) select o.org_id, p.person_id, 'owner' from o join p using (org_id)
      returning org_id, person_id
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      -- Without the name, which is that of a person.
      select o.org_id, 'person:' || m.person_id, 'org.create', o.org_id,
        jsonb_build_object('after', jsonb_build_object('owner', m.person_id))
      from o join m using (org_id)
    )
    select org_id, email from p`,
    [personId, newOrgId()],
    { idempotent: true },
  );
  if (!row) return;
  await ctx.project.org(row.org_id);
  const { trialCredits, trialDays } = ctx.signUp;
  if (trialCredits > 0 && !(await hasLeft(ctx, row.email))) {
    const expiresAt = new Date(ctx.clock.nowMs() + trialDays * DAY_MS);
    await ctx.grantTrial({ orgId: row.org_id, key: `trial:${personId}`, credits: trialCredits, expiresAt });
  }
  await ctx.db.query('update people set home_ready_at = now() where person_id = $1', [personId], { idempotent: true });
}

/** Whoever deleted an account of this address had the credits to try it with. */
const hasLeft = async (ctx: PeopleContext, email: string): Promise<boolean> =>
  (await ctx.db.one('select 1 as one from people where left_digest = $1 limit 1', [leftDigest(ctx, email)], { idempotent: true })) !==
  undefined;
