import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** `live`: something is left; `expired`: the rest of it went when its time was up; `used`: everything else. */
export const GRANT_STATES = ['live', 'used', 'expired'] as const;
export type GrantState = (typeof GRANT_STATES)[number];

export interface ListedGrant {
  readonly grant_id: number;
  readonly kind: string;
  readonly category: 'promo' | 'plan' | 'paid';
  readonly state: GrantState;
  /** 1 = used up next; null when nothing is left. */
  readonly burn_order: number | null;
  readonly granted: number;
  readonly remaining: number;
  readonly expires_at: string | null;
  readonly created_at: string;
  readonly reason: string | null;
  readonly source_type: string | null;
  readonly source_id: string | null;
  readonly tx_id: number;
}

export interface GrantPage {
  /** Of all that the filter finds, whatever page is shown. */
  readonly totals: { readonly grants: number; readonly granted: number; readonly remaining: number };
  /** Newest first. */
  readonly rows: readonly ListedGrant[];
  readonly hasMore: boolean;
}

/** Grants as the balance and the statement know them: what remains is the balance of the grant's account. Undefined: no such organization. */
export async function listGrants(
  db: Database,
  orgId: OrgId,
  page: { readonly state: GrantState | null; readonly before: number | null; readonly limit: number },
): Promise<GrantPage | undefined> {
  const rows = await db.query<{ totals: GrantPage['totals']; grant: ListedGrant | null }>(
    GRANTS,
    [orgId, page.state, page.before, page.limit + 1],
    { idempotent: true, timeoutMs: 30_000 },
  );
  const [first] = rows;
  if (!first) return undefined;
  const grants = rows.flatMap(({ grant }) => (grant ? [grant] : []));
  return { totals: first.totals, rows: grants.slice(0, page.limit), hasMore: grants.length > page.limit };
}

const GRANTS = `
  with live as (
    select g.grant_id, row_number() over (order by g.priority, g.expires_at nulls last,
      array_position(array['promo', 'plan', 'paid'], g.category), g.created_at, g.grant_id) as burn_order
    from ledger_accounts a join grants g on g.grant_id = a.grant_id where a.org_id = $1 and a.live
  ), found as materialized (
    select g.grant_id, g.kind, g.category, s.state, live.burn_order, g.amount as granted, a.balance as remaining, g.expires_at, g.created_at,
      g.reason, g.source_type, g.source_id, g.tx_id
    from grants g join ledger_accounts a on a.grant_id = g.grant_id left join live on live.grant_id = g.grant_id
    cross join lateral (select case when a.balance > 0 then 'live'
      when exists (select from ledger_entries e join ledger_txs t on t.id = e.tx_id where e.account_id = a.id and t.kind = 'expire') then 'expired'
      else 'used' end as state) s
    where g.org_id = $1 and ($2::text is null or s.state = $2::text)
  ), totals as (
    select jsonb_build_object('grants', count(*), 'granted', coalesce(sum(granted), 0), 'remaining', coalesce(sum(remaining), 0)) as totals from found
  ), page as (
    select * from found where $3::bigint is null or grant_id < $3::bigint order by grant_id desc limit $4::int
  )
  select totals.totals, to_jsonb(page) as grant
  from organizations o cross join totals left join page on true
  where o.org_id = $1 order by page.grant_id desc nulls last`;
