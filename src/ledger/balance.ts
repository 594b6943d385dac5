import type { Database } from '../db/client.js';
import { type MicroCredits, microCredits, ZERO } from '../domain/credits.js';
import type { OrgId } from '../domain/ids.js';

export interface GrantLeft {
  readonly grantId: number;
  readonly kind: string;
  readonly category: 'promo' | 'plan' | 'paid';
  readonly priority: number;
  readonly amount: MicroCredits;
  readonly remaining: MicroCredits;
  readonly expiresAtMs: number | null;
  readonly createdAtMs: number;
  readonly reason: string | null;
}

export interface BalanceSheet {
  readonly avail: MicroCredits;
  /** 0 or negative. */
  readonly debt: MicroCredits;
  readonly balanceVersion: number;
  readonly monthSpent: MicroCredits;
  readonly monthEndsAtMs: number;
  /** Grants with something left, in the order in which they will be used up. */
  readonly grants: readonly GrantLeft[];
}

/** What the ledger says an organization has; undefined when there is no such organization. Running holds are not in it. */
export async function readBalance(db: Database, orgId: OrgId, nowMs: number = Date.now()): Promise<BalanceSheet | undefined> {
  const row = await db.one<BalanceRow>(SHEET, [orgId], { idempotent: true });
  if (!row) return undefined;
  const monthEndsAtMs = row.month_ends_at.getTime();
  return {
    avail: microCredits(row.avail),
    debt: microCredits(row.debt),
    balanceVersion: row.version,
    monthSpent: monthEndsAtMs > nowMs ? microCredits(row.month_spent) : ZERO,
    monthEndsAtMs,
    grants: row.grants.map((grant) => ({
      grantId: grant.grant_id,
      kind: grant.kind,
      category: grant.category,
      priority: grant.priority,
      amount: microCredits(grant.amount),
      remaining: microCredits(grant.remaining),
      expiresAtMs: grant.expires_at === null ? null : Date.parse(grant.expires_at),
      createdAtMs: Date.parse(grant.created_at),
      reason: grant.reason,
    })),
  };
}

const SHEET = `
  select b.avail, b.debt, b.version, b.month_spent, b.month_ends_at, coalesce((
    select json_agg(json_build_object('grant_id', g.grant_id, 'kind', g.kind, 'category', g.category, 'priority', g.priority,
      'amount', g.amount, 'remaining', a.balance, 'expires_at', g.expires_at, 'created_at', g.created_at, 'reason', g.reason)
      order by g.priority, g.expires_at nulls last, array_position(array['promo', 'plan', 'paid'], g.category), g.created_at, g.grant_id)
    from ledger_accounts a join grants g on g.grant_id = a.grant_id where a.org_id = b.org_id and a.live), '[]') as grants
  from org_balances b where b.org_id = $1`;

interface BalanceRow {
  readonly avail: number;
  readonly debt: number;
  readonly version: number;
  readonly month_spent: number;
  readonly month_ends_at: Date;
  readonly grants: readonly {
    readonly grant_id: number;
    readonly kind: string;
    readonly category: 'promo' | 'plan' | 'paid';
    readonly priority: number;
    readonly amount: number;
    readonly remaining: number;
    readonly expires_at: string | null;
    readonly created_at: string;
    readonly reason: string | null;
  }[];
}
