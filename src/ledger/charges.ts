import type { Database } from '../db/client.js';
import type { OrgId, RequestId } from '../domain/ids.js';

/** A request, and what of its charge one transaction booked. */
export interface PaidRequest {
  readonly request_id: RequestId;
  readonly amount: number;
}

/**
 * What the transactions in `wanted` (column `tx_id`) charged for each request: its row as first booked, and what corrections
 * added. `usage_corrections` keeps both sides, so the first cost can be told from the row as it is now.
 */
const PARTS = `
  first_costs as (
    select r.tx_id, r.request_id, (r.cost + coalesce((select sum(c.old_cost - c.new_cost) from usage_corrections c
      where c.request_id = r.request_id and c.ts = r.ts), 0))::bigint as amount
    from usage_records r where r.org_id = $1 and r.tx_id in (select tx_id from wanted)
  ), parts as (
    select tx_id, request_id, sum(amount)::bigint as amount from (
      select * from first_costs
      union all
      select c.tx_id, c.request_id, c.new_cost - c.old_cost from usage_corrections c
      where c.org_id = $1 and c.tx_id in (select tx_id from wanted)
    ) p group by tx_id, request_id having sum(amount) <> 0
  )`;

/** The requests behind one transaction, oldest first; negative where a request turned out cheaper than first booked. */
export async function requestsOf(
  db: Database,
  orgId: OrgId,
  page: { readonly txId: number; readonly after: string | null; readonly limit: number },
): Promise<{ readonly rows: readonly PaidRequest[]; readonly hasMore: boolean }> {
  const rows = await db.query<PaidRequest>(
    `with wanted as (select $2::bigint as tx_id), ${PARTS}
     select 'req_' || replace(request_id::text, '-', '') as request_id, amount from parts
     where $3::text is null or request_id > substr($3::text, 5)::uuid order by request_id limit $4::int`,
    [orgId, page.txId, page.after, page.limit + 1],
    { idempotent: true, timeoutMs: 30_000 },
  );
  return { rows: rows.slice(0, page.limit), hasMore: rows.length > page.limit };
}

/** What one transaction took from one grant, and for which requests. */
export interface GrantCharge {
  readonly entry_id: number;
  readonly tx_id: number;
  readonly created_at: string;
  readonly amount: number;
  readonly balance_after: number;
  /** How many requests were paid from this grant then, at least in part. */
  readonly requests_total: number;
  /** The first of them; all of them are with the transaction. */
  readonly requests: readonly PaidRequest[];
}

const REQUESTS_SHOWN = 100;

/**
 * Which requests a grant paid for, newest first. A transaction books many requests at once, and may empty several grants:
 * requests in the order of their ids meet grants in the order of burning, so each micro-credit has one of both.
 */
export async function listGrantCharges(
  db: Database,
  orgId: OrgId,
  page: { readonly grantId: number; readonly before: number | null; readonly limit: number },
): Promise<{ readonly rows: readonly GrantCharge[]; readonly hasMore: boolean } | undefined> {
  const rows = await db.query<{ charge: GrantCharge | null }>(CHARGES, [orgId, page.grantId, page.before, page.limit + 1, REQUESTS_SHOWN], {
    idempotent: true,
    timeoutMs: 30_000,
  });
  if (rows.length === 0) return undefined;
  const charges = rows.flatMap(({ charge }) => (charge ? [charge] : []));
  return { rows: charges.slice(0, page.limit), hasMore: charges.length > page.limit };
}

const CHARGES = `
  with mine as (
    select a.id from ledger_accounts a where a.org_id = $1 and a.grant_id = $2::bigint
  ), wanted as (
    select e.id as entry_id, e.tx_id, e.account_id, -e.amount as amount, e.balance_after, t.created_at
    from mine join ledger_entries e on e.account_id = mine.id join ledger_txs t on t.id = e.tx_id
    where t.kind = 'usage' and ($3::bigint is null or e.id < $3::bigint) order by e.id desc limit $4::int
  ), takes as (
    select e.id as entry_id, -e.amount as amount, e.tx_id,
      (sum(-e.amount) over (partition by e.tx_id order by e.id rows unbounded preceding))::bigint as upto
    from ledger_entries e join ledger_accounts a on a.id = e.account_id
    where e.tx_id in (select tx_id from wanted) and a.org_id = $1
  ), ${PARTS}, placed as (
    select tx_id, request_id, amount,
      (sum(amount) over (partition by tx_id order by request_id rows unbounded preceding))::bigint as upto from parts
  ), met as (
    select w.entry_id, p.request_id, least(t.upto, p.upto) - greatest(t.upto - t.amount, p.upto - p.amount) as amount,
      row_number() over (partition by w.entry_id order by p.request_id) as n
    from wanted w join takes t on t.entry_id = w.entry_id join placed p on p.tx_id = w.tx_id
    where p.upto > t.upto - t.amount and p.upto - p.amount < t.upto
  )
  select case when w.entry_id is not null then json_build_object('entry_id', w.entry_id, 'tx_id', w.tx_id, 'created_at', w.created_at, 'amount', w.amount,
    'balance_after', w.balance_after, 'requests_total', (select count(*) from met m where m.entry_id = w.entry_id),
    'requests', coalesce((select json_agg(json_build_object('request_id', 'req_' || replace(m.request_id::text, '-', ''), 'amount', m.amount)
      order by m.n) from met m where m.entry_id = w.entry_id and m.n <= $5::int), '[]')) end as charge
  from mine left join wanted w on w.account_id = mine.id order by w.entry_id desc nulls last`;
