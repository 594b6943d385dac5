import type { OrgId } from '../domain/ids.js';
import type { AccountsContext } from './context.js';
import { ORG_VIEW, type Org } from './org.js';

export async function readOrg({ ctx, orgId }: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId }): Promise<Org | undefined> {
  const rows = await ctx.db.query<{ org: Org }>(`select ${ORG_VIEW} as org from organizations o where org_id = $1`, [orgId], {
    idempotent: true,
  });
  return rows[0]?.org;
}
