import { MICRO_PER_CREDIT } from '../../domain/credits.js';
import type { BucketRow } from '../../usage/buckets.js';
import type { LogDetail } from '../../usage/readLog.js';
import type { TokenFacts } from '../../usage/tokenFacts.js';
import { type ApiDeps, shown } from '../deps.js';
import { type Account, type Quota, tightest } from './account.js';
import type { Page } from './page.js';

/** Old clients read balances as floats of money; where the operator publishes no value, a credit stands for one unit. */
export function money(deps: Pick<ApiDeps, 'credits'>, micro: number): number {
  return Number(shown(deps, micro).money?.amount ?? micro / MICRO_PER_CREDIT);
}

/** What "no limit" has always been in the billing endpoints that these imitate. */
const UNLIMITED = 100_000_000;

export function keyOut(deps: ApiDeps, token: TokenFacts) {
  const quota = tightest(token);
  const { used } = token;
  return {
    data: {
      label: token.name,
      limit: quota === null ? null : money(deps, quota.limit),
      limit_remaining: quota === null ? null : money(deps, quota.left),
      limit_reset: quota === null || quota.window === 'total' ? null : quota.window,
      usage: money(deps, used.total),
      usage_daily: money(deps, used.daily),
      usage_weekly: money(deps, used.weekly),
      usage_monthly: money(deps, used.monthly),
      is_free_tier: false,
      expires_at: token.expires_at === null ? null : new Date(token.expires_at).toISOString(),
      rate_limit: token.requests_per_minute === 0 ? null : { requests: token.requests_per_minute, interval: '60s' },
      effective: effective(deps, token, quota),
    },
  };
}

/** How much this token can spend now, and what stops it first. */
function effective(deps: ApiDeps, token: TokenFacts, quota: Quota | null) {
  const bounds: [string, number][] = [['balance', Math.max(0, token.spendable)]];
  if (quota !== null) bounds.push(['token_quota', quota.left]);
  if (token.member_left !== null) bounds.push(['member_quota', Math.max(0, token.member_left)]);
  if (token.month_left !== null) bounds.push(['monthly_limit', Math.max(0, token.month_left)]);
  const [binding, left] = bounds.reduce((best, one) => (one[1] < best[1] ? one : best));
  return { remaining: money(deps, left), binding };
}

function accountIn(deps: ApiDeps, account: Account, leftMicro: number | null) {
  const used = money(deps, account.used);
  return leftMicro === null
    ? { used, left: UNLIMITED - used, limit: UNLIMITED }
    : { used, left: money(deps, leftMicro), limit: money(deps, account.used + leftMicro) };
}

/** The difference is the balance, whatever the month still allows. */
export function creditsOut(deps: ApiDeps, account: Account) {
  const { used, limit } = accountIn(deps, account, account.balance);
  return { data: { total_credits: limit, total_usage: used } };
}

const seconds = (at: string): number => Math.floor(Date.parse(at) / 1000);

export function subscriptionOut(deps: ApiDeps, account: Account) {
  const { limit } = accountIn(deps, account, account.left);
  return {
    object: 'billing_subscription',
    has_payment_method: true,
    soft_limit_usd: limit,
    hard_limit_usd: limit,
    system_hard_limit_usd: limit,
    access_until: account.expiresAt === null ? 0 : seconds(account.expiresAt),
  };
}

export function grantsOut(deps: ApiDeps, account: Account) {
  const { used, left, limit } = accountIn(deps, account, account.balance);
  const grant = {
    object: 'credit_grant',
    id: account.id,
    grant_amount: limit,
    used_amount: used,
    effective_at: seconds(account.createdAt),
    expires_at: account.expiresAt === null ? null : seconds(account.expiresAt),
  };
  return {
    object: 'credit_summary',
    total_granted: limit,
    total_used: used,
    total_available: left,
    grants: { object: 'list', data: [grant] },
  };
}

export function generationOut(deps: ApiDeps, row: LogDetail) {
  const cost = money(deps, row.cost);
  return {
    data: {
      id: row.request_id,
      model: row.model,
      created_at: new Date(row.ts).toISOString(),
      streamed: row.stream,
      cancelled: row.status === 'cancelled',
      finish_reason: row.finish_reason,
      latency: row.ttft_ms ?? row.latency_ms,
      generation_time: row.latency_ms,
      provider_name: row.upstream,
      tokens_prompt: row.input,
      tokens_completion: row.output,
      native_tokens_prompt: row.input,
      native_tokens_completion: row.output,
      native_tokens_cached: row.cached_input,
      native_tokens_reasoning: row.reasoning,
      total_cost: cost,
      usage: cost,
    },
  };
}

/** OpenAI's page of buckets. */
export const bucketPage = ({ slots, next }: Page, resultOf: (row: BucketRow) => object) => ({
  object: 'page',
  data: slots.map(({ startsAt, endsAt, rows }) => ({
    object: 'bucket',
    start_time: startsAt.getTime() / 1000,
    end_time: endsAt.getTime() / 1000,
    results: rows.map(resultOf),
  })),
  has_more: next !== null,
  next_page: next,
});

/** Every group there could be, null where it was not asked for. */
export const usageFields = (names: readonly string[], groupOf: (name: string) => string | null): Readonly<Record<string, string | null>> =>
  Object.fromEntries(names.map((name) => [name, groupOf(name)]));

export const costOut = (deps: ApiDeps, micro: number) => ({
  value: money(deps, micro),
  currency: (deps.credits.value?.currency ?? deps.credits.name).toLowerCase(),
});

/** One token's usage; `cost` is ours. */
export const usageOut = (deps: ApiDeps, page: Page, tokenId: string) =>
  bucketPage(page, (row) => ({
    object: 'organization.usage.completions.result',
    input_tokens: row.input,
    output_tokens: row.output,
    input_cached_tokens: row.cached_input,
    num_model_requests: row.requests,
    project_id: null,
    user_id: null,
    api_key_id: tokenId,
    model: page.groupOf(row, 'model'),
    batch: null,
    cost: money(deps, row.cost),
  }));

/** In cents, as the dashboard this imitates had it. */
export function billingUsageOut(deps: ApiDeps, rows: readonly BucketRow[]) {
  const cents = (micro: number): number => Number((money(deps, micro) * 100).toFixed(8));
  const days = new Map<number, { timestamp: number; line_items: { name: string; cost: number }[] }>();
  for (const row of rows) {
    if (row.starts_at === null) continue;
    const timestamp = row.starts_at.getTime() / 1000;
    const day = days.get(timestamp) ?? { timestamp, line_items: [] };
    day.line_items.push({ name: row.groups[0] ?? 'other', cost: cents(row.cost) });
    days.set(timestamp, day);
  }
  const total = rows.find((row) => row.starts_at === null);
  return { object: 'list', total_usage: cents(total?.cost ?? 0), daily_costs: [...days.values()] };
}
