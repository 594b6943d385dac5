import type { MicroCredits } from '../../domain/credits.js';
import type { Refusal } from '../../domain/refusal.js';
import type { Balance, QuotaWindow, TokenTerms, Unavailable } from '../store.js';
import { BROKEN, type Org, type Shard, type Token } from './state.js';

type Short = Extract<Refusal, { kind: 'short' }>;

/** One cap and what is left under it. */
interface Cap {
  readonly scope: Short['scope'];
  readonly window?: QuotaWindow;
  readonly rest: number;
  readonly inFlight: number;
  readonly resetsAtMs: number;
}

/** The rest under a cap that nobody knows: a token that counts in it is not there. */
const UNKNOWN = Number.NEGATIVE_INFINITY;

/** Every cap of a token in the order in which they are reported: quotas, its member's, monthly limit, wallet. */
export function capsOf(shard: Shard, org: Org, token: Token | undefined, nowMs: number): readonly Cap[] {
  const { balance } = org;
  if (!balance) return [{ scope: 'balance', rest: 0, inFlight: 0, resetsAtMs: 0 }];
  const caps = token?.terms ? quotaCaps(token, nowMs) : [];
  const member = token?.terms && memberCap(shard, token.terms, nowMs);
  if (member) caps.push(member);
  const limit = limitCap(org, balance, token, nowMs);
  if (limit) caps.push(limit);
  caps.push({ scope: 'balance', rest: spendableOf(org, balance), inFlight: org.held, resetsAtMs: 0 });
  return caps;
}

export const spendableOf = (org: Org, balance: Balance): number => balance.avail - org.pend - org.held + (org.terms?.overdraft ?? 0);

/** The first cap that has no room; an amount of 0 always fits. */
export function shortOf(caps: readonly Cap[], amount: number): Short | Unavailable | undefined {
  if (amount === 0) return undefined;
  const full = caps.find((cap) => cap.rest < amount);
  if (!full) return undefined;
  if (full.rest === UNKNOWN) return BROKEN;
  const { scope, window, rest, inFlight, resetsAtMs } = full;
  return { kind: 'short', scope, ...(window ? { window } : {}), required: amount, available: rest, inFlight, resetsAtMs };
}

export function remainingOf(caps: readonly Cap[], taken: number): MicroCredits {
  let least = Number.MAX_SAFE_INTEGER;
  for (const { rest } of caps) least = Math.min(least, rest - taken);
  return Math.max(0, least) as MicroCredits;
}

function quotaCaps(token: Token, nowMs: number): Cap[] {
  return (token.terms?.quotas ?? []).map(({ window, cap }) => {
    const use = token.use.find((one) => one.window === window);
    const over = use !== undefined && use.endsAtMs !== 0 && use.endsAtMs <= nowMs;
    const used = use && !over ? use.amount : 0;
    const resetsAtMs = use && !over ? use.endsAtMs : 0;
    return { scope: 'quota', window, rest: cap - used - token.pend - token.held, inFlight: token.held, resetsAtMs };
  });
}

/** What all tokens of a member have used this month, hold and owe, in one look. */
function memberCap(shard: Shard, { member, orgId }: TokenTerms, nowMs: number): Cap | undefined {
  if (!member) return undefined;
  let taken = 0;
  let inFlight = 0;
  let resetsAtMs = 0;
  for (const tokenId of member.tokens) {
    const token = shard.tokens.get(tokenId);
    if (token?.terms?.orgId !== orgId) return { scope: 'member', rest: UNKNOWN, inFlight: 0, resetsAtMs: 0 };
    const use = token.use.find((one) => one.window === 'monthly');
    const over = use !== undefined && use.endsAtMs !== 0 && use.endsAtMs <= nowMs;
    taken += token.pend + token.held + (use && !over ? use.amount : 0);
    inFlight += token.held;
    if (use && !over) resetsAtMs = Math.max(resetsAtMs, use.endsAtMs);
  }
  const most = Number.MAX_SAFE_INTEGER;
  return { scope: 'member', rest: member.cap - Math.min(most, taken), inFlight: Math.min(most, inFlight), resetsAtMs };
}

function limitCap(org: Org, balance: Balance, token: Token | undefined, nowMs: number): Cap | undefined {
  const { terms } = org;
  if (!terms || terms.limit === null) return undefined;
  const over = balance.monthEndsAtMs !== 0 && balance.monthEndsAtMs <= nowMs;
  const spent = over ? 0 : balance.monthSpent;
  const pauses = terms.limitAction === 'pause_noncritical';
  const critical = token?.terms?.critical ?? false;
  const limit = pauses && critical ? (terms.criticalCeiling ?? terms.limit) : terms.limit;
  const scope = pauses && !critical ? 'non_critical' : 'limit';
  return { scope, rest: limit - spent - org.pend - org.held, inFlight: org.held, resetsAtMs: over ? 0 : balance.monthEndsAtMs };
}
