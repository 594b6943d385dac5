import type { Database, Param } from '../db/client.js';
import { type Transaction, VIEW } from './transactions.js';

export interface JournalFilter {
  readonly orgId: string | null;
  readonly kinds: readonly string[] | null;
  /** As the audit log names them. */
  readonly actor: string | null;
  readonly reference: Reference | null;
  readonly from: Date | null;
  /** Exclusive. */
  readonly to: Date | null;
}

/** `other`: an id as the books have it, such as that of a payment. */
export type Reference =
  | { readonly kind: 'transaction' | 'grant'; readonly number: number }
  | { readonly kind: 'request' | 'batch' | 'other'; readonly id: string };

/** The journal of all organizations, newest first. Only what is asked for is in the statement, so that indexes can serve it. */
export async function listJournal(
  db: Database,
  page: { readonly filter: JournalFilter; readonly before: number | null; readonly limit: number },
): Promise<{ readonly rows: readonly Transaction[]; readonly hasMore: boolean }> {
  const { orgId, kinds, actor, reference, from, to } = page.filter;
  const params: Param[] = [];
  const where: string[] = [];
  const add = (value: Param | null, condition: (place: string) => string): void => {
    if (value === null) return;
    params.push(value);
    where.push(condition(`$${params.length}`));
  };
  add(orgId, (it) => `t.org_id = ${it}::text`);
  add(kinds, (it) => `t.kind = any (${it}::text[])`);
  add(actor, (it) => `t.meta ->> 'actor' = ${it}::text`);
  add(from, (it) => `t.created_at >= ${it}::timestamptz`);
  add(to, (it) => `t.created_at < ${it}::timestamptz`);
  add(page.before, (it) => `t.id < ${it}::bigint`);
  if (reference) add('number' in reference ? reference.number : reference.id, REFERS[reference.kind]);
  params.push(page.limit + 1);
  const rows = await db.query<{ tx: Transaction }>(
    `${VIEW} where ${[...where, 'true'].join(' and ')} order by t.id desc limit $${params.length}::int`,
    params,
    { idempotent: true, timeoutMs: 30_000 },
  );
  return { rows: rows.slice(0, page.limit).map(({ tx }) => tx), hasMore: rows.length > page.limit };
}

/** A request is booked with many others, and a correction of it by itself; a code is known by its digest, which only its batch tells. */
const REFERS: Readonly<Record<Reference['kind'], (it: string) => string>> = {
  transaction: (it) => `t.id = ${it}::bigint`,
  grant: (it) =>
    `t.id in (select e.tx_id from ledger_entries e join ledger_accounts a on a.id = e.account_id where a.grant_id = ${it}::bigint)`,
  request: (it) => `(t.id in (select tx_id from usage_records where request_id = ${it}::uuid
      union all select tx_id from usage_corrections where request_id = ${it}::uuid)
    or t.ref_id in (${it}::uuid::text, 'req_' || replace(${it}::uuid::text, '-', '')))`,
  batch: (it) => `t.ref_id in (select digest from codes where batch_id = ${it}::text)`,
  other: (it) => `t.ref_id = ${it}::text`,
};
