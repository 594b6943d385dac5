import type { CreditStore, OrgState } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import type { Finding } from './checks.js';
import { differences as hotDifferences, unanswered } from './hot.js';
import { inspectLoaded } from './look.js';

/** The books of one organization, each figure from where it is kept, and where they do not agree. Micro-credits. */
export interface OrgReconciliation {
  readonly clean: boolean;
  readonly books: OrgBooks;
  /** null: the hot store does not answer, or does not know the organization. */
  readonly hot: OrgState | null;
  readonly findings: readonly Finding[];
}

export interface OrgBooks {
  /** Added up from every entry there ever was. */
  readonly entries: { readonly count: number; readonly avail: number; readonly debt: number };
  /** What the accounts say their entries make. */
  readonly accounts: { readonly count: number; readonly avail: number; readonly debt: number; readonly wrong: number };
  /** What everything else reads. */
  readonly projection: { readonly avail: number; readonly debt: number; readonly version: number };
  readonly month: { readonly starts: string; readonly counted: number; readonly days: number };
  /** What the counters of tokens say, and what their days make. */
  readonly tokens: { readonly counted: number; readonly days: number; readonly wrong: number };
  /** Charges that could not be booked and wait for somebody. */
  readonly set_aside: number;
}

const LOOK_AGAIN_MS = 200;

/**
 * Computes the books of one organization again and compares. The books are one statement, so they are of one moment; a
 * difference to the hot store counts only if it stays, because what is settled reaches the books a moment later.
 */
export async function reconcileOrg(what: {
  db: Database;
  store: CreditStore;
  orgId: OrgId;
  attempts?: number;
}): Promise<OrgReconciliation | undefined> {
  const { db, store, orgId, attempts = 5 } = what;
  for (let attempt = 1; ; attempt++) {
    const hot = await inspectLoaded(store, orgId);
    const row = await db.one<{ books: OrgBooks }>(BOOKS, [orgId], { idempotent: true, timeoutMs: 30_000 });
    if (!row) return undefined;
    const { books } = row;
    const isAway = hot !== undefined && 'kind' in hot;
    const told = isAway
      ? [unanswered(orgId, hot.reason)]
      : hotDifferences(orgId, { avail: books.projection.avail, version: books.projection.version }, hot);
    const findings = [...bookDifferences(orgId, books), ...told];
    if (told.length === 0 || isAway || attempt >= attempts)
      return { clean: findings.length === 0, books, hot: isAway ? null : (hot ?? null), findings };
    await new Promise((go) => setTimeout(go, LOOK_AGAIN_MS));
  }
}

function bookDifferences(orgId: OrgId, { entries, accounts, projection, month, tokens, set_aside: aside }: OrgBooks): Finding[] {
  const compare = (check: string, expected: number, found: number, sentence: string): Finding[] =>
    expected === found ? [] : [{ check, subject: orgId, expected: String(expected), found: String(found), sentence }];
  return [
    ...compare('accounts_equal_entries', 0, accounts.wrong, `${accounts.wrong} accounts show something else than their entries make`),
    ...compare(
      'balances_equal_entries',
      entries.avail,
      projection.avail,
      `${projection.avail} is shown as available, the entries make ${entries.avail}`,
    ),
    ...compare(
      'debt_equals_entries',
      entries.debt,
      projection.debt,
      `${projection.debt} is shown as debt, the entries make ${entries.debt}`,
    ),
    ...compare(
      'month_counters',
      month.days,
      month.counted,
      `${month.counted} is counted as spent in the month of ${month.starts}, its days make ${month.days}`,
    ),
    ...compare('token_counters', 0, tokens.wrong, `${tokens.wrong} tokens count something else as used than their days make`),
    ...compare('nothing_set_aside', 0, aside, `${aside} requests could not be booked and wait for somebody`),
  ];
}

const BOOKS = `
  with accounts as (
    select a.kind, a.balance, a.version, coalesce(sum(e.amount), 0)::bigint as total, count(e.id) as entries
    from ledger_accounts a left join ledger_entries e on e.account_id = a.id where a.org_id = $1 and a.kind in ('grant', 'debt') group by a.id
  ), uses as (
    select u.total, coalesce(sum(r.cost), 0)::bigint as days from tokens t join token_use u using (token_id)
    left join usage_rollups r on r.org_id = t.org_id and r.token_id = t.token_id where t.org_id = $1 group by u.token_id
  )
  select json_build_object(
    'entries', (select json_build_object('count', coalesce(sum(entries), 0)::bigint, 'avail', coalesce(sum(total), 0)::bigint,
      'debt', coalesce(sum(total) filter (where kind = 'debt'), 0)::bigint) from accounts),
    'accounts', (select json_build_object('count', count(*), 'avail', coalesce(sum(balance), 0)::bigint,
      'debt', coalesce(sum(balance) filter (where kind = 'debt'), 0)::bigint,
      'wrong', count(*) filter (where balance <> total or version <> entries)) from accounts),
    'projection', json_build_object('avail', b.avail, 'debt', b.debt, 'version', b.version),
    'month', json_build_object('starts', b.month, 'counted', b.month_spent, 'days', (select coalesce(sum(r.cost), 0)::bigint
      from usage_rollups r where r.org_id = b.org_id and r.day >= b.month and r.day < b.month + interval '1 month')),
    'tokens', (select json_build_object('counted', coalesce(sum(total), 0)::bigint, 'days', coalesce(sum(days), 0)::bigint,
      'wrong', count(*) filter (where total <> days)) from uses),
    'set_aside', (select count(*) from poison_rows p where p.org_id = b.org_id and p.resolved_at is null)) as books
  from org_balances b where b.org_id = $1`;
