import { type AccountsContext, type Page, pageOf } from './context.js';
import { ORG_VIEW, type Org } from './org.js';

/** Newest first. `after` is the place of the last row of the page before. */
export async function listOrgs(what: {
  ctx: Pick<AccountsContext, 'db'>;
  status: Org['status'] | null;
  after: { readonly createdAt: string; readonly orgId: string } | null;
  limit: number;
}): Promise<Page<Org>> {
  const { ctx, after, limit } = what;
  const rows = await ctx.db.query<{ org: Org }>(
    `
    select ${ORG_VIEW} as org from organizations o
    where ($1::text is null or status = $1::text)
      and ($2::text is null
        or (created_at, org_id) < ($3::text::timestamptz, $2::text))
    order by created_at desc, org_id desc limit $4::int`,
    [what.status, after?.orgId ?? null, after?.createdAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ org }) => org),
    limit,
  );
}
