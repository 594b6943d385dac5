import type { OrgId, TokenId } from '../domain/ids.js';
import type { AccountsContext } from './context.js';
import type { QuotaWindow } from './quota.js';
import { readToken } from './readToken.js';
import { type UpdatedToken, updateToken } from './updateToken.js';

export type ChangedQuota =
  | UpdatedToken
  /** Adding to what has no end would give it one; that has to be said with `set`. */
  | { readonly kind: 'unlimited'; readonly window: QuotaWindow };

/** Sets or raises one quota of a token. Raising happens in the statement, so that of two at once none is lost. */
export async function changeQuota(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  tokenId: TokenId;
  ownerId: string | null;
  op: 'set' | 'add';
  amount: number;
  /** null: the one the token has; the total if it has none. */
  window: QuotaWindow | null;
  ifMatch: string | null;
  isBounded: boolean;
}): Promise<ChangedQuota> {
  const { ctx, orgId, tokenId, ownerId, op, amount, ifMatch, isBounded } = what;
  const token = await readToken({ ctx, orgId, tokenId, ownerId });
  if (!token) return { kind: 'unknown_token' };
  const caps = new Map<QuotaWindow, number | null>([
    ['total', token.quota_total],
    ['daily', token.quota_daily],
    ['weekly', token.quota_weekly],
    ['monthly', token.quota_monthly],
  ]);
  const window = what.window ?? [...caps].find(([, cap]) => cap !== null)?.[0] ?? 'total';
  const column = `quota_${window}`;
  const update = { ctx, orgId, tokenId, ownerId, action: 'token.update', ifMatch, isBounded } as const;
  if (op === 'set') return updateToken({ ...update, changes: { [column]: amount } });
  if (caps.get(window) === null && token.status !== 'revoked') return { kind: 'unlimited', window };
  return updateToken({ ...update, changes: {}, add: { [column]: amount } });
}
