import type { OrgId, TokenId } from '../domain/ids.js';
import { nameOf } from './actor.js';
import type { AccountsContext, Projected } from './context.js';

export type ClosedOrg =
  | { readonly kind: 'closed'; readonly tokens: number; readonly keys: number; readonly members: number; readonly effect: Projected }
  | { readonly kind: 'unknown_org' }
  /** Everybody keeps the one that came with their account. */
  | { readonly kind: 'personal' }
  /** Micro-credits, more than 0. */
  | { readonly kind: 'owing'; readonly debt: number };

/**
 * Ends an organization: suspended, its tokens, keys and invitations revoked, nobody belongs to it any more. One statement,
 * under the lock of the wallet, so nothing becomes owed in between. Grants, charges and the ledger stay as they are.
 */
export async function closeOrg({ ctx, orgId }: { ctx: AccountsContext; orgId: OrgId }): Promise<ClosedOrg> {
  const row = await ctx.db.one<{ kind: string; debt: number; open: boolean; tokens: readonly TokenId[]; keys: number; members: number }>(
    `
    with wallet as materialized (
      select org_id, debt from org_balances where org_id = $1 for no key update
    ), o as (
      select t.org_id, t.name, t.kind, t.closed_at, w.debt,
        (select coalesce(jsonb_agg(jsonb_build_object('id', m.person_id, 'role_id', m.role_id)), '[]') from org_members m where m.org_id = $1) as members
      from organizations t join wallet w using (org_id) for no key update of t
    ), closed as (
      update organizations t set status = 'suspended', closed_at = now()
      from o where t.org_id = o.org_id and o.kind = 'team' and o.debt = 0 and o.closed_at is null returning t.org_id
    ), revoked as (
      update tokens t set status = 'revoked' from closed c where t.org_id = c.org_id and t.status <> 'revoked' returning t.token_id
    ), keys as (
      update management_keys k set revoked_at = now(), updated_at = now() from closed c
      where k.org_id = c.org_id and k.revoked_at is null returning k.key_id
    ), uninvited as (
      update invitations i set revoked_at = now() from closed c
      where i.org_id = c.org_id and i.accepted_at is null and i.revoked_at is null
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select o.org_id, $2, 'org.close', o.org_id, jsonb_build_object('name', o.name, 'members', o.members,
        'tokens', (select count(*) from revoked), 'keys', (select count(*) from keys))
      from o join closed using (org_id)
    )
    select o.kind, o.debt, o.closed_at is null as open, array(select token_id from revoked) as tokens,
      (select count(*)::int from keys) as keys, jsonb_array_length(o.members) as members from o`,
    [orgId, nameOf(ctx.actor)],
    { idempotent: true },
  );
  if (!row) return { kind: 'unknown_org' };
  if (row.kind !== 'team') return { kind: 'personal' };
  if (row.open && row.debt !== 0) return { kind: 'owing', debt: -row.debt };
  const { tokens, keys, members } = row;
  return { kind: 'closed', tokens: tokens.length, keys, members, effect: await tell(ctx, orgId, tokens) };
}

/** The organization first: from then on none of its tokens spends. */
async function tell(ctx: AccountsContext, orgId: OrgId, tokens: readonly TokenId[]): Promise<Projected> {
  let effect = await ctx.project.org(orgId);
  for (let at = 0; at < tokens.length; at += 20) {
    const told = await Promise.all(tokens.slice(at, at + 20).map((tokenId) => ctx.project.token(tokenId)));
    if (told.includes('unavailable')) effect = 'unavailable';
  }
  return effect;
}
