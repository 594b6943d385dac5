import type { OrgId } from '../domain/ids.js';
import { type AccountsContext, type Page, pageOf } from './context.js';
import { ORG_VIEW, type Org } from './org.js';

/** An organization as the house that runs the server sees it; amounts are micro-credits, as booked. */
export interface ListedOrg {
  readonly org: Org;
  readonly avail: number;
  /** 0 or negative. */
  readonly debt: number;
  readonly month_spent: number;
  readonly alert_threshold: number | null;
  readonly members: number;
  readonly tokens: number;
}

export interface OrgFilter {
  readonly status: Org['status'] | null;
  /** An id, or a part of the name. */
  readonly q: string | null;
  readonly group: string | null;
}

const VIEW = `
  select ${ORG_VIEW} as org, b.avail, b.debt, case when b.month_ends_at > now() then b.month_spent else 0 end as month_spent, o.alert_threshold,
    (select count(*)::int from org_members m where m.org_id = o.org_id) as members,
    (select count(*)::int from tokens t where t.org_id = o.org_id and t.status <> 'revoked') as tokens
  from organizations o join org_balances b using (org_id)`;

/** Newest first. `after` is the place of the last row of the page before. */
export async function listOrgs(what: {
  ctx: Pick<AccountsContext, 'db'>;
  filter: OrgFilter;
  after: { readonly createdAt: string; readonly orgId: string } | null;
  limit: number;
}): Promise<Page<ListedOrg>> {
  const { filter, after, limit } = what;
  const rows = await what.ctx.db.query<ListedOrg>(
    `${VIEW}
    where ($1::text is null or o.status = $1::text)
      and ($2::text is null or o.org_id = $2::text or strpos(lower(o.name), lower($2::text)) > 0)
      and ($3::text is null or o.price_group = $3::text)
      and ($4::text is null or (o.created_at, o.org_id) < ($5::text::timestamptz, $4::text))
    order by o.created_at desc, o.org_id desc limit $6::int`,
    [filter.status, filter.q, filter.group, after?.orgId ?? null, after?.createdAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(rows, limit);
}

export function readListedOrg(what: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId }): Promise<ListedOrg | undefined> {
  return what.ctx.db.one<ListedOrg>(`${VIEW} where o.org_id = $1`, [what.orgId], { idempotent: true });
}
