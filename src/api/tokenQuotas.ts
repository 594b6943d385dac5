import { z } from '@hono/zod-openapi';
import type { AboveCeiling } from '../accounts/ceiling.js';
import { QUOTA_WINDOWS, type QuotaWindow } from '../accounts/quota.js';
import type { Token, TokenChanges } from '../accounts/token.js';
import { type ApiDeps, shown } from './deps.js';
import { invalid, type Problem } from './problem.js';
import { AmountIn, AmountOutSchema, TimeOut, timeOutOrNull } from './schemas.js';

/** `never`: one amount for the whole life of the token. */
const RESETS = ['never', 'daily', 'weekly', 'monthly'] as const;

export const QuotaIn = z.union([AmountIn, z.strictObject({ amount: AmountIn, reset: z.enum(RESETS).default('never') })]);

/** Several at once, each with its own window; all of them count. A window that is null has no end. */
export const QuotasIn = z.strictObject({
  total: AmountIn.nullable().optional(),
  daily: AmountIn.nullable().optional(),
  weekly: AmountIn.nullable().optional(),
  monthly: AmountIn.nullable().optional(),
});

export const QuotaSchema = z.strictObject({
  amount: AmountOutSchema,
  reset: z.enum(RESETS),
  used: AmountOutSchema,
  remaining: AmountOutSchema,
  resets_at: TimeOut.nullable(),
});

export const QuotasSchema = z.strictObject({
  total: QuotaSchema.nullable(),
  daily: QuotaSchema.nullable(),
  weekly: QuotaSchema.nullable(),
  monthly: QuotaSchema.nullable(),
});

const NONE: TokenChanges = { quota_total: null, quota_daily: null, quota_weekly: null, quota_monthly: null };

/** Saying one quota ends all others, whatever their windows were. */
export function quotaColumns(quota: z.output<typeof QuotaIn> | null): TokenChanges {
  if (quota === null) return NONE;
  if (typeof quota === 'number') return { ...NONE, quota_total: quota };
  const window = quota.reset === 'never' ? 'total' : quota.reset;
  return { ...NONE, [`quota_${window}`]: quota.amount };
}

/** Only the windows that are named change. */
export function quotasColumns(quotas: z.output<typeof QuotasIn> | null): TokenChanges {
  if (quotas === null) return NONE;
  const named = QUOTA_WINDOWS.filter((window) => quotas[window] !== undefined);
  return Object.fromEntries(named.map((window) => [`quota_${window}`, quotas[window]]));
}

type Above = AboveCeiling['quotas'][number];

/** Where in a body a quota stands, however it was written. */
export const quotaPointer =
  (body: { readonly quota?: unknown; readonly quotas?: unknown }) =>
  (quota: Above): string => {
    if (quota === 'none') return body.quotas === undefined ? '/quota' : '/quotas';
    if (body.quotas !== undefined) return `/quotas/${quota}`;
    return typeof body.quota === 'object' && body.quota !== null ? '/quota/amount' : '/quota';
  };

export function aboveCeiling(deps: ApiDeps, { ceiling, quotas }: AboveCeiling, pointerOf: (quota: Above) => string): Problem {
  const most = `${shown(deps, ceiling).credits} credits`;
  return invalid(
    quotas.map((quota) => ({
      pointer: pointerOf(quota),
      code: 'above_ceiling',
      message:
        quota === 'none'
          ? `Give the token a quota of at most ${most}: the organization's max_token_quota. Who manages the organization can change that.`
          : `At most ${most}: the organization's max_token_quota. Who manages the organization can change that.`,
    })),
  );
}

type QuotaOut = z.input<typeof QuotaSchema> | null;

export function quotasOut(deps: ApiDeps, token: Token): { quota: QuotaOut; quotas: Record<QuotaWindow, QuotaOut> } {
  const quotas = {
    total: quotaOut(deps, token, 'total', token.quota_total),
    daily: quotaOut(deps, token, 'daily', token.quota_daily),
    weekly: quotaOut(deps, token, 'weekly', token.quota_weekly),
    monthly: quotaOut(deps, token, 'monthly', token.quota_monthly),
  };
  const first = QUOTA_WINDOWS.find((window) => quotas[window] !== null);
  return { quota: first === undefined ? null : quotas[first], quotas };
}

function quotaOut(deps: ApiDeps, token: Token, window: QuotaWindow, cap: number | null): QuotaOut {
  if (cap === null) return null;
  const used = token.used[window];
  return {
    amount: shown(deps, cap),
    reset: window === 'total' ? 'never' : window,
    used: shown(deps, used),
    remaining: shown(deps, Math.max(0, cap - used)),
    resets_at: timeOutOrNull(token.resets_at[window]),
  };
}
