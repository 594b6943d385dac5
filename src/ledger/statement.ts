import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/**
 * What became of credits. `paid_debt`: used at once to pay what was owed; `returned`: came back because a request cost less
 * than first booked; `restored`: given back by hand; `withdrawn`: taken by hand, by refund or dispute.
 */
export const FLOWS = ['granted', 'paid_debt', 'consumed', 'returned', 'restored', 'expired', 'withdrawn', 'remaining'] as const;

/**
 * Micro-credits, each 0 or more:
 * `remaining = granted − paid_debt − consumed + returned + restored − expired − withdrawn`.
 */
export type GrantFlow = Readonly<Record<(typeof FLOWS)[number], number>>;

export const DEBTS = ['incurred', 'withdrawn', 'repaid', 'returned', 'owed'] as const;

/** `owed = incurred + withdrawn − repaid − returned`. */
export type DebtFlow = Readonly<Record<(typeof DEBTS)[number], number>>;

export interface GrantStory extends GrantFlow {
  readonly grant_id: number;
  readonly kind: string;
  readonly category: 'promo' | 'plan' | 'paid';
  readonly priority: number;
  readonly reason: string | null;
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly tx_id: number;
  /** Transactions in which requests were paid from it. */
  readonly charges: number;
}

export interface Statement {
  /** As booked: what remains of all grants, less what is owed. */
  readonly avail: number;
  readonly version: number;
  readonly totals: GrantFlow & { readonly grants: number };
  readonly debt: DebtFlow;
  /** Newest first. */
  readonly grants: readonly GrantStory[];
  readonly hasMore: boolean;
}

export interface StatementPage {
  /** Only grants with something left. */
  readonly liveOnly: boolean;
  readonly before: number | null;
  readonly limit: number;
}

/**
 * Why a balance is what it is, grant by grant, from the entries alone. One statement, so one moment: the totals are of all
 * grants, whatever page of them is shown, and add up to the balance to the last micro-credit.
 */
export async function readStatement(db: Database, orgId: OrgId, page: StatementPage): Promise<Statement | undefined> {
  const rows = await db.query<StatementRow>(STATEMENT, [orgId, page.liveOnly, page.before, page.limit + 1], {
    idempotent: true,
    timeoutMs: 30_000,
  });
  const [first] = rows;
  if (!first) return undefined;
  const grants = rows.flatMap(({ grant }) => (grant ? [storyOf(grant)] : []));
  return {
    avail: first.avail,
    version: first.version,
    totals: first.totals,
    debt: first.debt,
    grants: grants.slice(0, page.limit),
    hasMore: grants.length > page.limit,
  };
}

const sum = (amount: string, condition: string): string => `coalesce(sum(${amount}) filter (where ${condition}), 0)::bigint`;

const STATEMENT = `
  with stories as materialized (
    select g.grant_id, g.kind, g.category, g.priority, g.reason, g.created_at, g.expires_at, g.tx_id,
      ${sum('e.amount', 't.id = g.tx_id and e.amount > 0')} as granted,
      ${sum('-e.amount', 't.id = g.tx_id and e.amount < 0')} as paid_debt,
      ${sum('-e.amount', "t.kind = 'usage'")} as consumed,
      ${sum('e.amount', "t.id <> g.tx_id and t.kind = 'usage_return'")} as returned,
      ${sum('e.amount', "t.id <> g.tx_id and t.kind not in ('usage', 'usage_return') and e.amount > 0")} as restored,
      ${sum('-e.amount', "t.kind = 'expire'")} as expired,
      ${sum('-e.amount', "t.id <> g.tx_id and t.kind not in ('usage', 'usage_return', 'expire') and e.amount < 0")} as withdrawn,
      a.balance as remaining, count(*) filter (where t.kind = 'usage') as charges
    from grants g join ledger_accounts a on a.grant_id = g.grant_id
    join ledger_entries e on e.account_id = a.id join ledger_txs t on t.id = e.tx_id
    where g.org_id = $1 group by g.grant_id, a.balance
  ), totals as (
    select jsonb_build_object('grants', count(*), ${FLOWS.map((name) => `'${name}', coalesce(sum(${name}), 0)`).join(', ')}) as totals from stories
  ), debts as (
    select jsonb_build_object('incurred', ${sum('-e.amount', "t.kind = 'usage'")},
      'withdrawn', ${sum('-e.amount', "t.kind <> 'usage' and e.amount < 0")},
      'returned', ${sum('e.amount', "t.kind = 'usage_return'")},
      'repaid', ${sum('e.amount', "t.kind <> 'usage_return' and e.amount > 0")},
      'owed', coalesce(-max(d.balance), 0)) as debt
    from ledger_accounts d left join ledger_entries e on e.account_id = d.id left join ledger_txs t on t.id = e.tx_id
    where d.org_id = $1 and d.kind = 'debt'
  ), page as (
    select s.* from stories s
    where (not $2::boolean or s.remaining > 0) and ($3::bigint is null or s.grant_id < $3::bigint)
    order by s.grant_id desc limit $4::int
  )
  select b.avail, b.version, totals.totals, debts.debt, to_jsonb(page) as grant
  from org_balances b cross join totals cross join debts left join page on true
  where b.org_id = $1 order by page.grant_id desc nulls last`;

interface StatementRow {
  readonly avail: number;
  readonly version: number;
  readonly totals: Statement['totals'];
  readonly debt: DebtFlow;
  readonly grant:
    | (Omit<GrantStory, 'created_at' | 'expires_at'> & { readonly created_at: string; readonly expires_at: string | null })
    | null;
}

const storyOf = (row: NonNullable<StatementRow['grant']>): GrantStory => ({
  ...row,
  created_at: new Date(row.created_at),
  expires_at: row.expires_at === null ? null : new Date(row.expires_at),
});
