import { readOrgUse } from '../../usage/orgUse.js';
import type { TokenFacts, Window } from '../../usage/tokenFacts.js';
import type { ApiDeps } from '../deps.js';

/** What old clients take for an account: of the token alone, or where the operator says so of its organization. Micro-credits. */
export interface Account {
  readonly id: string;
  readonly used: number;
  /** What can be spent; null = no limit of its own. */
  readonly left: number | null;
  /** The same, whatever the month still allows. */
  readonly balance: number | null;
  readonly createdAt: string;
  readonly expiresAt: string | null;
}

export interface Quota {
  readonly window: Window;
  readonly limit: number;
  readonly left: number;
}

/** The quota that ends first. */
export function tightest({ quotas, used }: TokenFacts): Quota | null {
  const all = (['total', 'daily', 'weekly', 'monthly'] as const).flatMap((window) => {
    const limit = quotas[window];
    return limit === null ? [] : [{ window, limit, left: Math.max(0, limit - used[window]) }];
  });
  return all.reduce<Quota | null>((best, one) => (best === null || one.left < best.left ? one : best), null);
}

export async function accountOf(deps: ApiDeps, token: TokenFacts): Promise<Account> {
  if (deps.compat.creditsScope === 'token') {
    const left = tightest(token)?.left ?? null;
    const { token_id: id, created_at: createdAt, expires_at: expiresAt } = token;
    return { id, used: token.used.total, left, balance: left, createdAt, expiresAt };
  }
  const use = await readOrgUse(deps.db, token.org_id);
  if (!use) throw new Error('a token without its organization');
  const balance = Math.max(0, token.spendable);
  const left = token.month_left === null ? balance : Math.max(0, Math.min(balance, token.month_left));
  return { id: token.org_id, used: use.used, left, balance, createdAt: use.created_at.toISOString(), expiresAt: null };
}
