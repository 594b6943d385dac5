import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** As the table allows them. */
export const TRANSACTION_KINDS = [
  ...(['usage', 'usage_return', 'topup', 'auto_topup', 'redeem', 'plan_grant', 'rollover', 'trial', 'goodwill', 'manual'] as const),
  ...(['adjust', 'expire', 'void', 'refund', 'dispute_hold', 'dispute_release', 'dispute_lost', 'overage_settle'] as const),
] as const;
type TransactionKind = (typeof TRANSACTION_KINDS)[number];

/** One line of a transaction: an account, and by how much it moved. The lines of a transaction add up to 0. */
export interface Line {
  readonly entry_id: number;
  readonly account: string;
  /** Whether the account is the organization's; the others are the operator's. */
  readonly own: boolean;
  readonly grant_id: number | null;
  readonly amount: number;
  /** Of the organization's own accounts; those of the operator hold everybody's. */
  readonly balance_after: number | null;
}

export interface Transaction {
  readonly tx_id: number;
  readonly org_id: string;
  readonly kind: TransactionKind;
  readonly created_at: string;
  readonly ref_type: string | null;
  readonly ref_id: string | null;
  readonly reason: string | null;
  readonly actor: string | null;
  readonly lines: readonly Line[];
}

export interface TransactionFilter {
  readonly kinds: readonly string[] | null;
  readonly from: Date | null;
  /** Exclusive. */
  readonly to: Date | null;
  /** Only what moved this grant. */
  readonly grantId: number | null;
}

/** The journal of one organization, newest first. */
export async function listTransactions(
  db: Database,
  orgId: OrgId,
  page: { readonly filter: TransactionFilter; readonly before: number | null; readonly limit: number },
): Promise<{ readonly rows: readonly Transaction[]; readonly hasMore: boolean }> {
  const { kinds, from, to, grantId } = page.filter;
  const rows = await db.query<{ tx: Transaction }>(
    `${VIEW} where t.org_id = $1 and ($2::text[] is null or t.kind = any ($2::text[]))
       and ($3::timestamptz is null or t.created_at >= $3::timestamptz) and ($4::timestamptz is null or t.created_at < $4::timestamptz)
       and ($5::bigint is null or exists (select from ledger_entries e join ledger_accounts a on a.id = e.account_id
         where e.tx_id = t.id and a.grant_id = $5::bigint))
       and ($6::bigint is null or t.id < $6::bigint)
     order by t.id desc limit $7::int`,
    [orgId, kinds, from, to, grantId, page.before, page.limit + 1],
    { idempotent: true, timeoutMs: 30_000 },
  );
  return { rows: rows.slice(0, page.limit).map(({ tx }) => tx), hasMore: rows.length > page.limit };
}

export async function readTransaction(db: Database, orgId: OrgId, txId: number): Promise<Transaction | undefined> {
  const row = await db.one<{ tx: Transaction }>(`${VIEW} where t.org_id = $1 and t.id = $2`, [orgId, txId], { idempotent: true });
  return row?.tx;
}

const PAGE = 200;

/** All of a filter, a page at a time in memory. */
export async function* everyTransaction(db: Database, orgId: OrgId, filter: TransactionFilter): AsyncGenerator<readonly Transaction[]> {
  for (let before: number | null = null; ; ) {
    const page: Awaited<ReturnType<typeof listTransactions>> = await listTransactions(db, orgId, { filter, before, limit: PAGE });
    if (page.rows.length > 0) yield page.rows;
    const last = page.rows.at(-1);
    if (!page.hasMore || !last) return;
    before = last.tx_id;
  }
}

/** A transaction with all its lines; `where` and order follow. */
export const VIEW = `
  select json_build_object('tx_id', t.id, 'org_id', t.org_id, 'kind', t.kind, 'created_at', t.created_at, 'ref_type', t.ref_type, 'ref_id', t.ref_id,
    'reason', coalesce(t.meta ->> 'reason', (select g.reason from grants g where g.tx_id = t.id and g.org_id = t.org_id order by g.grant_id limit 1)),
    'actor', t.meta ->> 'actor',
    'lines', (select json_agg(json_build_object('entry_id', e.id, 'account', a.kind, 'own', a.org_id is not null, 'grant_id', a.grant_id,
        'amount', e.amount, 'balance_after', case when a.org_id is not null then e.balance_after end) order by e.id)
      from ledger_entries e join ledger_accounts a on a.id = e.account_id where e.tx_id = t.id)) as tx
  from ledger_txs t`;
