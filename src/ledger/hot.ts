import type { CreditStore, OrgState } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import type { Finding } from './checks.js';
import { inspectLoaded } from './look.js';

const PAGE = 500;
const AT_ONCE = 32;
const LOOK_AGAIN_MS = 200;
const NAME = 'hot_store_agrees';
const AN_ANSWER = 'an answer';

/**
 * Compares every organization's hot state with the ledger. A difference counts only if it stays while traffic goes on:
 * what is settled but not yet booked is on its way, not wrong.
 */
export async function compareHot(db: Database, store: CreditStore, attempts: number): Promise<{ checked: number; findings: Finding[] }> {
  const findings: Finding[] = [];
  let checked = 0;
  // Whoever is still to be loaded is waited for; a store that does not answer is not waited for a hundred thousand times.
  let patienceMs: number | undefined;
  for (let after = ''; ; ) {
    const page = await readPage(db, after);
    checked += page.length;
    for (let i = 0; i < page.length; i += AT_ONCE) {
      const found = await Promise.all(page.slice(i, i + AT_ONCE).map((row) => compareOne({ db, store, attempts, patienceMs }, row.org_id)));
      findings.push(...found.flat());
      if (found.flat().some(({ expected }) => expected === AN_ANSWER)) patienceMs = 0;
    }
    const last = page.at(-1);
    if (!last || page.length < PAGE) return { checked, findings };
    after = last.org_id;
  }
}

interface Comparison {
  readonly db: Database;
  readonly store: CreditStore;
  readonly attempts: number;
  readonly patienceMs: number | undefined;
}

async function compareOne({ db, store, attempts, patienceMs }: Comparison, orgId: OrgId): Promise<Finding[]> {
  for (let i = 1; ; i++) {
    const hot = await inspectLoaded(store, orgId, patienceMs);
    const row = await db.one<BookRow>(`${BOOKS} where b.org_id = $1`, [orgId], { idempotent: true });
    if (!row) return [];
    if (hot && 'kind' in hot) return [unanswered(orgId, hot.reason)];
    const faults = differences(orgId, row, hot);
    if (faults.length === 0 || i >= attempts) return faults;
    await new Promise((go) => setTimeout(go, LOOK_AGAIN_MS));
  }
}

/** What the hot store says of an organization, against what its books say and against itself. */
export function differences(orgId: OrgId, row: Pick<BookRow, 'avail' | 'version'>, hot: OrgState | undefined): Finding[] {
  if (!hot) return [finding(orgId, 'known', 'missing', `the hot store does not know ${orgId}, so it cannot spend`)];
  const faults: Finding[] = [];
  const { avail, balanceVersion } = hot.balance;
  if (balanceVersion !== row.version || avail !== row.avail)
    faults.push(
      finding(
        orgId,
        row.avail,
        avail,
        `${orgId} has ${row.avail} in the ledger (version ${row.version}), but ${avail} in the hot store (version ${balanceVersion})`,
      ),
    );
  const held = hot.holds.reduce((sum, one) => sum + one.amount, 0);
  if (held !== hot.held)
    faults.push(finding(orgId, held, hot.held, `the hot store counts ${hot.held} as held for ${orgId}, its open holds make ${held}`));
  const pend = hot.pending.reduce((sum, one) => sum + one.cost, 0);
  if (pend !== hot.pend)
    faults.push(finding(orgId, pend, hot.pend, `the hot store counts ${hot.pend} as pending for ${orgId}, its settlements make ${pend}`));
  return faults;
}

export const unanswered = (orgId: OrgId, reason: string): Finding =>
  finding(orgId, AN_ANSWER, reason, `the hot store could not be asked about ${orgId}: ${reason}`);

const finding = (subject: string, expected: string | number, found: string | number, sentence: string): Finding => ({
  check: NAME,
  subject,
  expected: String(expected),
  found: String(found),
  sentence,
});

interface BookRow {
  readonly org_id: OrgId;
  readonly avail: number;
  readonly version: number;
}

const BOOKS = 'select b.org_id, b.avail, b.version from org_balances b';

function readPage(db: Database, after: string): Promise<BookRow[]> {
  return db.query<BookRow>(`${BOOKS} where b.org_id > $1 order by b.org_id limit ${PAGE}`, [after], { idempotent: true });
}
