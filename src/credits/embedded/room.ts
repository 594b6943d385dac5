import type { MicroCredits } from '../../domain/credits.js';
import type { Refusal } from '../../domain/refusal.js';
import type { Balance, QuotaWindow } from '../store.js';
import type { Org, Token } from './state.js';

type Short = Extract<Refusal, { kind: 'short' }>;

/** One cap and what is left under it. */
interface Cap {
  readonly scope: Short['scope'];
  readonly window?: QuotaWindow;
  readonly rest: number;
  readonly inFlight: number;
  readonly resetsAtMs: number;
}

/** Every cap of a token in the order in which they are reported: quotas, monthly limit, wallet. */
export function capsOf(org: Org, balance: Balance, token: Token | undefined, nowMs: number): readonly Cap[] {
  const caps = token?.terms ? quotaCaps(token, nowMs) : [];
  const limit = limitCap(org, balance, token, nowMs);
  if (limit) caps.push(limit);
  caps.push({ scope: 'balance', rest: spendableOf(org, balance), inFlight: org.held, resetsAtMs: 0 });
  return caps;
}

export const spendableOf = (org: Org, balance: Balance): number => balance.avail - org.pend - org.held + (org.terms?.overdraft ?? 0);

/** The first cap that has no room; an amount of 0 always fits. */
export function shortOf(caps: readonly Cap[], amount: number): Short | undefined {
  if (amount === 0) return undefined;
  const full = caps.find((cap) => cap.rest < amount);
  if (!full) return undefined;
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
