import type { AccountsContext, Projected } from '../accounts/context.js';
import { readOrg } from '../accounts/readOrg.js';
import { microCredits } from '../domain/credits.js';
import type { OrgId } from '../domain/ids.js';
import { type BalanceSheet, readBalance } from '../ledger/balance.js';
import { postGrant } from '../ledger/post.js';
import { projectOrg, projectToken } from '../ledger/project.js';
import type { ApiDeps, GrantCommand, Granted, LedgerPort, Wallet } from './deps.js';

type Database = AccountsContext['db'];
type Store = Parameters<typeof projectOrg>[1];

/** How the API reaches the ledger and the hot store; `reconcile` is handed in by whoever wires it. */
export function createBooks(parts: {
  readonly db: Database;
  readonly store: Store;
  readonly reconcile: LedgerPort['reconcile'];
}): Pick<ApiDeps, 'ledger' | 'project'> {
  const { db, store } = parts;
  const project = {
    org: async (orgId: OrgId) => effectOf(await projectOrg(db, store, orgId)),
    token: async (tokenId: Parameters<typeof projectToken>[2]) => effectOf(await projectToken(db, store, tokenId)),
  };
  return {
    project,
    ledger: {
      reconcile: parts.reconcile,
      grant: (command) => grant(db, project.org, command),
      wallet: (orgId) => wallet(db, store, orgId),
    },
  };
}

const effectOf = ({ kind }: Awaited<ReturnType<typeof projectOrg>>): Projected => (kind === 'projected' ? 'projected' : 'unavailable');

/** Given by hand they were not paid for here; a trial or a present is promotion. */
const ORIGINS = {
  manual: { category: 'paid', source: 'cash:manual' },
  goodwill: { category: 'promo', source: 'promo' },
  trial: { category: 'promo', source: 'promo' },
} as const;

async function grant(
  db: Database,
  project: (orgId: OrgId) => Promise<Projected>,
  command: GrantCommand,
): Promise<Granted | { kind: 'unknown_org' }> {
  const { orgId, key, kind, amount, reason, expiresAt, actor } = command;
  if (!(await readOrg({ ctx: { db }, orgId }))) return { kind: 'unknown_org' };
  const order = { orgId, key, kind, amount, reason, actor, expiresAtMs: expiresAt?.getTime() ?? null, ...ORIGINS[kind] };
  const posted = await postGrant(db, order);
  const effect = await project(orgId);
  return {
    kind: 'granted',
    grantId: `grant_${posted.grantId}`,
    available: microCredits(posted.avail),
    inForce: effect === 'projected',
    repeated: posted.repeated,
  };
}

async function wallet(db: Database, store: Store, orgId: OrgId): Promise<Wallet | undefined> {
  const [state, sheet, org] = await Promise.all([
    store.inspect(orgId).catch(() => undefined),
    readBalance(db, orgId),
    readOrg({ ctx: { db }, orgId }),
  ]);
  if (!sheet || !org) return undefined;
  const terms = { overdraft: org.overdraft, monthLimit: org.monthly_limit };
  if (!state || 'kind' in state) return { ...bookedOf(sheet), ...terms, hot: null };
  // Balance, pending and held from one look at the hot store: two looks could count a charge twice, or not at all.
  const { balance, held, pend } = state;
  return { ...bookedOf(sheet), ...terms, booked: balance.avail, version: balance.balanceVersion, hot: { held, pending: pend } };
}

function bookedOf(sheet: BalanceSheet): Omit<Wallet, 'overdraft' | 'monthLimit' | 'hot'> {
  return {
    booked: sheet.avail,
    debt: sheet.debt,
    monthSpent: sheet.monthSpent,
    monthEndsAt: sheet.monthEndsAtMs > 1 ? new Date(sheet.monthEndsAtMs) : null,
    version: sheet.balanceVersion,
    grants: sheet.grants.map(({ grantId, expiresAtMs, createdAtMs, ...rest }) => ({
      ...rest,
      id: `grant_${grantId}`,
      expiresAt: expiresAtMs === null ? null : new Date(expiresAtMs),
      createdAt: new Date(createdAtMs),
    })),
  };
}
