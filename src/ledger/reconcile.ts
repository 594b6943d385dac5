import type { CreditStore } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { CHECKS, type Check, type Finding, PRICES } from './checks.js';
import { compareHot } from './hot.js';

export type { Finding };

export interface Reconciliation {
  readonly clean: boolean;
  /** How many things each check has looked at. */
  readonly checked: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
}

export interface ReconcileOptions {
  readonly db: Database;
  /** The hot store is compared too when it is given. */
  readonly store?: CreditStore;
  /** Findings of one kind that are listed; one more line says how many there are. */
  readonly findingsMax?: number;
  /** Rows whose price is computed again; with more rows, a fixed part of them. */
  readonly pricesMax?: number;
  /** How often a difference to the hot store is looked at again before it counts: traffic goes on meanwhile. */
  readonly hotAttempts?: number;
}

const CHECK_MS = 10 * 60_000;

/**
 * Computes everything again from the entries and rows and compares. Reads only. Each check is one statement, so it sees
 * one moment and may run while traffic flows.
 */
export async function reconcile(options: ReconcileOptions): Promise<Reconciliation> {
  const { db, findingsMax = 100 } = options;
  const checked: Record<string, number> = {};
  const findings: Finding[] = [];
  for (const check of CHECKS) {
    checked[check.name] = await count(db, check, []);
    findings.push(...(await look(db, check, [], findingsMax)));
  }
  const rows = checked['rollups_equal_rows'] ?? 0;
  const every = Math.max(1, Math.ceil(rows / (options.pricesMax ?? 100_000)));
  checked[PRICES.name] = await count(db, PRICES, [every]);
  findings.push(...(await look(db, PRICES, [every], findingsMax)));
  if (options.store) {
    const hot = await compareHot(db, options.store, options.hotAttempts ?? 5);
    checked['hot_store_agrees'] = hot.checked;
    findings.push(...hot.findings.slice(0, findingsMax));
  }
  return { clean: findings.length === 0, checked, findings };
}

export interface ChainCheck extends Omit<Reconciliation, 'checked'> {
  readonly lines: number;
  /** Written down elsewhere, it also shows when lines were cut off at the end. */
  readonly last: { readonly id: number; readonly hash: string } | null;
}

/** The same look at the audit log that `reconcile` takes, by itself. */
export async function verifyAudit(db: Database): Promise<ChainCheck> {
  const check = CHECKS.find(({ name }) => name === 'audit_chain');
  if (!check) throw new Error('there is no check of the audit log');
  const [lines, findings, last] = await Promise.all([
    count(db, check, []),
    look(db, check, [], 100),
    db.one<{ id: number; hash: string }>('select id, hash from audit_log order by id desc limit 1', [], { idempotent: true }),
  ]);
  return { clean: findings.length === 0, lines, findings, last: last ?? null };
}

async function count(db: Database, check: Check, params: readonly number[]): Promise<number> {
  const row = await db.one<{ count: number }>(check.counted, params, { timeoutMs: CHECK_MS, idempotent: true });
  return row?.count ?? 0;
}

async function look(db: Database, check: Check, params: readonly number[], most: number): Promise<Finding[]> {
  const rows = await db.query<Omit<Finding, 'check'>>(`${check.sql} limit ${most + 1}`, params, { timeoutMs: CHECK_MS, idempotent: true });
  const findings = rows.slice(0, most).map((row) => ({ check: check.name, ...row }));
  if (rows.length > most)
    findings.push({
      check: check.name,
      subject: '…',
      expected: '0',
      found: 'more',
      sentence: `${check.name}: there are more than ${most} of these`,
    });
  return findings;
}
