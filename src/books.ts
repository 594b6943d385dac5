import type { AccountsContext, Projected as Effect } from './accounts/context.js';
import type { GrantCommand, Granted, LedgerPort, Wallet } from './api/deps.js';
import { ownToken } from './billing/meterTokens.js';
import type { CreditStore } from './credits/store.js';
import type { Database } from './db/client.js';
import type { OrgId } from './domain/ids.js';
import { readBalance } from './ledger/balance.js';
import { deduct } from './ledger/deduct.js';
import { chargeMeters } from './ledger/meter.js';
import { postGrant } from './ledger/post.js';
import { projectMembers, projectOrg, projectToken } from './ledger/project.js';
import { bookAside, dropAside } from './ledger/setAside.js';
import { readOrg } from './ledger/snapshot.js';

/** The ledger and the hot store as the management side asks for them. */
export function createLedgerPort(db: Database, store: CreditStore): LedgerPort {
  return {
    grant: (command) => grant(db, store, command),
    deduct: async (command) => {
      if (!(await readOrg(db, command.orgId))) return { kind: 'unknown_org' };
      const token = await ownToken({ db }, command.orgId);
      return deduct(db, store, { ...command, tokenId: token.id });
    },
    bookAside: (command) => bookAside({ db, store }, command),
    dropAside: (command) => dropAside({ db, store }, command),
    wallet: (orgId) => wallet(db, store, orgId),
    meter: (batch) => chargeMeters(db, store, batch),
    reconcileOrg: async (orgId) => (await import('./ledger/reconcileOrg.js')).reconcileOrg({ db, store, orgId }),
    reconcile: async () => (await import('./ledger/reconcile.js')).reconcile({ db, store }),
  };
}

/** Write, then project, then answer: the very next request sees what was changed. */
export function createProjections(db: Database, store: CreditStore): AccountsContext['project'] {
  const effect = (answer: Awaited<ReturnType<typeof projectOrg>>): Effect => (answer.kind === 'projected' ? 'projected' : 'unavailable');
  return {
    org: async (orgId) => effect(await projectOrg(db, store, orgId)),
    token: async (tokenId) => effect(await projectToken(db, store, tokenId)),
    members: async (orgId) => effect(await projectMembers(db, store, orgId)),
  };
}

async function grant(db: Database, store: CreditStore, command: GrantCommand): Promise<Granted | { readonly kind: 'unknown_org' }> {
  if (!(await readOrg(db, command.orgId))) return { kind: 'unknown_org' };
  const posted = await postGrant(db, {
    orgId: command.orgId,
    key: command.key,
    kind: command.kind,
    amount: command.amount,
    category: command.category,
    // Money was taken outside; the account says so, and no provider has to agree.
    source: command.category === 'paid' ? 'cash:manual' : 'promo',
    expiresAtMs: command.expiresAt?.getTime() ?? null,
    reason: command.reason,
    meta: { actor: command.actor },
    actor: command.actor,
  });
  const told = await projectOrg(db, store, command.orgId);
  return {
    kind: 'granted',
    grantId: `grant_${posted.grantId}`,
    available: posted.avail as Granted['available'],
    inForce: told.kind === 'projected',
    repeated: posted.repeated,
  };
}

async function wallet(db: Database, store: CreditStore, orgId: OrgId): Promise<Wallet | undefined> {
  const [sheet, org, hot] = await Promise.all([readBalance(db, orgId), readOrg(db, orgId), store.inspect(orgId).catch(() => undefined)]);
  if (!sheet || !org) return undefined;
  const known = hot && !('kind' in hot) ? hot : null;
  // Balance, pending and held from one look at the hot store: from two, a charge could count twice, or not at all.
  return {
    booked: known?.balance.avail ?? sheet.avail,
    debt: sheet.debt,
    overdraft: org.terms.overdraft,
    monthSpent: sheet.monthSpent,
    monthLimit: org.terms.limit,
    monthEndsAt: Number.isFinite(sheet.monthEndsAtMs) && sheet.monthEndsAtMs > 0 ? new Date(sheet.monthEndsAtMs) : null,
    version: known?.balance.balanceVersion ?? sheet.balanceVersion,
    hot: known ? { held: known.held, pending: known.pend } : null,
    grants: sheet.grants.map((one) => ({
      id: `grant_${one.grantId}`,
      kind: one.kind,
      category: one.category,
      priority: one.priority,
      amount: one.amount,
      remaining: one.remaining,
      expiresAt: one.expiresAtMs === null ? null : new Date(one.expiresAtMs),
      createdAt: new Date(one.createdAtMs),
      reason: one.reason,
    })),
  };
}
