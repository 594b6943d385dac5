import type { Balance, TokenUse } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { microCredits } from '../domain/credits.js';
import type { OrgId, RequestId, TokenId } from '../domain/ids.js';
import { linesOf } from './lines.js';
import { type TokenUseRow, tokenUse } from './tokenUse.js';

/** What an organization has after a batch was booked, ready for the hot store. */
export interface PostedOrg {
  readonly orgId: OrgId;
  readonly balance: Balance;
  readonly tokens: readonly TokenUse[];
}

export interface Rejected {
  readonly orgId: string | null;
  readonly requestId: string;
  readonly reason: string;
}

const POST_MS = 60_000;

/**
 * Books charge events, each the JSON of a ChargeEvent. Order and repetition do not matter: what is known of a request only
 * grows (nothing < floor, the larger wins < final). Rows of unknown organizations or tokens come back in `rejected`;
 * anything malformed throws and nothing is booked.
 */
export async function postCharges(
  db: Database,
  events: readonly string[],
  nowMs?: number,
): Promise<{ readonly orgs: readonly PostedOrg[]; readonly rejected: readonly Rejected[] }> {
  if (events.length === 0) return { orgs: [], rejected: [] };
  const { lines, breakdowns, mark, count, shapes, orgs, tokens, txs } = linesOf(events);
  const rows = await db.query<LineRow>(
    'select * from post_lines($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9::timestamptz, now()))',
    [lines, breakdowns, mark, count, shapes, orgs, tokens, txs, time(nowMs)],
    { timeoutMs: POST_MS, idempotent: true },
  );
  return booked(rows);
}

export type GrantKind = 'topup' | 'auto_topup' | 'redeem' | 'plan_grant' | 'rollover' | 'trial' | 'goodwill' | 'manual';

/** Who is used up first: lower numbers. What expires or costs nothing goes before what was paid for. */
export const PRIORITY: Readonly<Record<GrantKind, number>> = {
  rollover: 10,
  trial: 20,
  goodwill: 20,
  redeem: 30,
  plan_grant: 40,
  topup: 50,
  auto_topup: 50,
  manual: 50,
};

export interface GrantOrder {
  readonly orgId: OrgId;
  /** The same key is booked once, however often it is posted. */
  readonly key: string;
  readonly kind: GrantKind;
  readonly amount: number;
  readonly category: 'promo' | 'plan' | 'paid';
  /** Where the credits come from: `promo`, `plan`, or `cash:<provider>`. */
  readonly source: string;
  readonly priority?: number;
  readonly expiresAtMs?: number | null;
  readonly sourceType?: string | null;
  readonly sourceId?: string | null;
  readonly currency?: string | null;
  /** What one credit cost, as an exact decimal of the currency. */
  readonly unitCost?: string | null;
  readonly reason?: string | null;
  readonly meta?: object | null;
  /** Who did it, for the audit log, which is written in the same statement. */
  readonly actor?: string;
  readonly nowMs?: number;
}

export interface PostedGrant {
  readonly txId: number;
  readonly grantId: number;
  /** The amount of the grant booked under this key: compare it when `repeated`. */
  readonly amount: number;
  readonly repeated: boolean;
  readonly avail: number;
  readonly debt: number;
  readonly balanceVersion: number;
}

/** Adds credits, once per key. Debt is paid first. Project the organization afterwards, so that it can spend them. */
export async function postGrant(db: Database, order: GrantOrder): Promise<PostedGrant> {
  const row = await db.one<WalletRow & { grant_id: number; amount: number }>(
    `with g as (
       select * from post_grant(p_org => $1, p_key => $2, p_kind => $3, p_amount => $4, p_category => $5, p_priority => $6,
         p_source => $7, p_expires_at => $8, p_source_type => $9, p_source_id => $10, p_currency => $11, p_unit_cost => $12,
         p_reason => $13, p_meta => $14, p_now => coalesce($15::timestamptz, now()))
     ), audited as (
       insert into audit_log (org_id, actor, action, subject, details)
       select $1, $16, 'grant.create', $1, jsonb_build_object('grant_id', g.grant_id, 'kind', $3::text, 'micro', g.amount, 'reason', $13::text)
       from g where $16::text is not null and not g.repeated
     )
     select * from g`,
    [
      order.orgId,
      order.key,
      order.kind,
      microCredits(order.amount),
      order.category,
      order.priority ?? PRIORITY[order.kind],
      order.source,
      time(order.expiresAtMs),
      order.sourceType ?? null,
      order.sourceId ?? null,
      order.currency ?? null,
      order.unitCost ?? null,
      order.reason ?? null,
      order.meta ?? null,
      time(order.nowMs),
      order.actor ?? null,
    ],
    { idempotent: true },
  );
  if (!row) throw new Error('post_grant gave no answer');
  return { ...wallet(row), grantId: row.grant_id, amount: row.amount };
}

/** How often one actor may try codes for one organization. */
export interface Attempts {
  readonly perHour: number;
  readonly failuresInARow: number;
  readonly pauseS: number;
}

export type Redemption =
  | {
      readonly kind: 'redeemed';
      readonly grantId: number;
      readonly amount: number;
      readonly creditsExpireAtMs: number | null;
      readonly avail: number;
      readonly repeated: boolean;
    }
  /** When and by whom is known only to the organization that used it. */
  | { readonly kind: 'code_already_used'; readonly usedAtMs: number | null; readonly usedBy: string | null }
  | { readonly kind: 'code_not_found' | 'code_expired' | 'code_disabled' | 'code_not_for_you' }
  | { readonly kind: 'too_many_attempts'; readonly waitMs: number };

/**
 * Turns a code into credits: marked as used, granted and written to the audit log by one statement, once. The same key asks
 * for the same redemption again. Project the organization afterwards.
 */
export async function postRedemption(
  db: Database,
  order: { orgId: OrgId; digest: string; key: string; actor: string; attempts: Attempts; nowMs?: number },
): Promise<Redemption> {
  const { perHour, failuresInARow, pauseS } = order.attempts;
  const row = await db.one<RedemptionRow>(
    'select * from redeem_code($1, $2, $3, $4, $5, $6, make_interval(secs => $7), coalesce($8::timestamptz, now()))',
    [order.orgId, order.digest, order.key, order.actor, perHour, failuresInARow, pauseS, time(order.nowMs)],
    { idempotent: true },
  );
  if (!row) throw new Error('redeem_code gave no answer');
  if (row.outcome === 'too_many_attempts') return { kind: row.outcome, waitMs: row.wait_ms ?? 0 };
  if (row.outcome === 'code_already_used') return { kind: row.outcome, usedAtMs: row.used_at?.getTime() ?? null, usedBy: row.used_by };
  if (row.outcome !== 'redeemed') return { kind: row.outcome };
  return {
    kind: 'redeemed',
    grantId: row.grant_id ?? 0,
    amount: row.amount ?? 0,
    creditsExpireAtMs: row.credits_expire_at?.getTime() ?? null,
    avail: row.avail ?? 0,
    repeated: row.repeated ?? false,
  };
}

interface RedemptionRow {
  readonly outcome: Redemption['kind'];
  readonly wait_ms: number | null;
  readonly amount: number | null;
  readonly credits_expire_at: Date | null;
  readonly grant_id: number | null;
  readonly used_at: Date | null;
  readonly used_by: string | null;
  readonly repeated: boolean | null;
  readonly avail: number | null;
}

export type MeterShort = {
  readonly kind: 'short';
  readonly scope: 'balance' | 'quota' | 'member' | 'limit' | 'non_critical';
  readonly window: 'total' | 'daily' | 'weekly' | 'monthly' | null;
  readonly required: number;
  readonly available: number;
  readonly resetsAtMs: number | null;
};

export interface MeteredEvent {
  /** Another one than was sent means: it was booked before. */
  readonly requestId: string;
  readonly cost: number;
  /** Units of it that an allowance covered. */
  readonly free: number;
}

export interface MeterPosted {
  readonly kind: 'booked';
  readonly events: ReadonlyMap<string, MeteredEvent>;
  readonly balance: Balance;
  readonly tokens: readonly TokenUse[];
}

/**
 * Books a batch of meter events, entirely or not at all: `events` is the text of a JSON array of {event_id, critical,
 * allowance, charge}, `aside` what was set aside for them, `held` what the hot store has set aside besides. `dearer`: more has
 * to be set aside first. Tell the hot store afterwards.
 */
export async function postMeterEvents(
  db: Database,
  batch: { orgId: OrgId; events: string; aside: number; held: number; tokenHeld: Readonly<Record<string, number>>; nowMs: number },
): Promise<MeterPosted | MeterShort | { readonly kind: 'dearer' }> {
  const row = await db.one<MeterRow>(
    'select * from post_metered($1, $2, $3, $4, $5::text::jsonb, $6::timestamptz)',
    [batch.orgId, batch.events, batch.aside, batch.held, JSON.stringify(batch.tokenHeld), new Date(batch.nowMs)],
    { timeoutMs: POST_MS, idempotent: true },
  );
  if (!row) throw new Error('post_metered gave no answer');
  if (row.scope === 'aside') return { kind: 'dearer' };
  if (row.scope !== null) {
    const { scope, quota_window: window, required, available } = row;
    return { kind: 'short', scope, window, required, available: available ?? 0, resetsAtMs: row.resets_at?.getTime() ?? null };
  }
  const balance = balanceOf({ ...row, avail: row.avail ?? 0, month_ends_ms: row.month_ends_at.getTime() });
  const events = Object.entries(row.events ?? {}).map(
    ([id, { request_id, cost, free }]) => [id, { requestId: request_id, cost, free }] as const,
  );
  return { kind: 'booked', events: new Map(events), balance, tokens: (row.tokens ?? []).map(tokenUse) };
}

interface MeterRow {
  readonly scope: MeterShort['scope'] | 'aside' | null;
  readonly quota_window: MeterShort['window'];
  readonly required: number;
  readonly available: number | null;
  readonly resets_at: Date | null;
  readonly events: Readonly<Record<string, { readonly request_id: string; readonly cost: number; readonly free: number }>> | null;
  readonly avail: number;
  readonly balance_version: number;
  readonly month_spent: number;
  readonly month_ends_at: Date;
  readonly tokens: readonly TokenUseRow[] | null;
}

export interface AdjustmentOrder {
  readonly orgId: OrgId;
  readonly key: string;
  readonly kind: 'adjust' | 'void' | 'refund' | 'dispute_hold' | 'dispute_release' | 'dispute_lost' | 'overage_settle';
  /** Positive gives, negative takes. Taking more than there is leaves debt. */
  readonly amount: number;
  /** The other side: `void`, `refund`, `promo`, `suspense` (the organization's own), `cash:<provider>`. */
  readonly counter: string;
  /** Take from, or refill, this grant first. */
  readonly grantId?: number | null;
  readonly reason?: string | null;
  readonly meta?: object | null;
  readonly nowMs?: number;
}

export type PostedAdjustment = Omit<PostedGrant, 'grantId' | 'amount'>;

/** Corrects a balance by a new entry, once per key; nothing booked is ever edited. */
export async function postAdjustment(db: Database, order: AdjustmentOrder): Promise<PostedAdjustment> {
  const row = await db.one<WalletRow>(
    `select * from post_adjustment(p_org => $1, p_key => $2, p_kind => $3, p_amount => $4, p_counter => $5, p_grant_id => $6,
       p_reason => $7, p_meta => $8, p_now => coalesce($9::timestamptz, now()))`,
    [
      order.orgId,
      order.key,
      order.kind,
      microCredits(order.amount),
      order.counter,
      order.grantId ?? null,
      order.reason ?? null,
      order.meta ?? null,
      time(order.nowMs),
    ],
    { idempotent: true },
  );
  if (!row) throw new Error('post_adjustment gave no answer');
  return wallet(row);
}

export interface DeductionOrder {
  readonly orgId: OrgId;
  readonly key: string;
  readonly amount: number;
  /** What the hot store has set aside or not booked yet: not to be taken. */
  readonly reserved: number;
  /** Take from this grant alone. */
  readonly grantId: number | null;
  readonly reason: string;
  readonly actor: string;
}

export type PostedDeduction =
  | { readonly kind: 'taken'; readonly txId: number; readonly repeated: boolean; readonly avail: number }
  /** Nothing was booked: this much could be taken. */
  | { readonly kind: 'short'; readonly room: number }
  | { readonly kind: 'unknown_grant' };

/** Takes credits back, once per key, with its line in the audit log; refused when it would leave debt. */
export async function postDeduction(db: Database, order: DeductionOrder): Promise<PostedDeduction> {
  const row = await db.one<{ outcome: PostedDeduction['kind']; tx_id: number; repeated: boolean; room: number; avail: number }>(
    'select outcome, tx_id, repeated, room, avail from post_deduction($1, $2, $3, $4, $5, $6, $7)',
    [order.orgId, order.key, microCredits(order.amount), microCredits(order.reserved), order.grantId, order.reason, order.actor],
    { idempotent: true },
  );
  if (!row) throw new Error('post_deduction gave no answer');
  if (row.outcome === 'short') return { kind: 'short', room: row.room };
  if (row.outcome === 'unknown_grant') return { kind: 'unknown_grant' };
  return { kind: 'taken', txId: row.tx_id, repeated: row.repeated, avail: row.avail };
}

export interface ExpiredGrant {
  readonly orgId: OrgId;
  readonly grantId: number;
  readonly amount: number;
}

/** Books what is left of expired grants to breakage, at most `limit` grants. Project the named organizations afterwards. */
export async function expireGrants(db: Database, options: { nowMs?: number; limit?: number } = {}): Promise<readonly ExpiredGrant[]> {
  const rows = await db.query<{ org_id: OrgId; grant_id: number; amount: number }>(
    'select org_id, grant_id, amount from expire_grants(coalesce($1::timestamptz, now()), $2)',
    [time(options.nowMs), options.limit ?? 1000],
  );
  return rows.map((row) => ({ orgId: row.org_id, grantId: row.grant_id, amount: row.amount }));
}

/** A token with its organization, or, with a reason, a row that was not booked. */
interface LineRow extends Omit<TokenUseRow, 'token_id'> {
  readonly org_id: OrgId;
  readonly avail: number;
  readonly balance_version: number;
  readonly month_spent: number;
  readonly month_ends_ms: number;
  readonly token_id: TokenId | null;
  readonly rejected_id: RequestId | null;
  readonly reason: string | null;
}

interface WalletRow {
  readonly tx_id: number;
  readonly repeated: boolean;
  readonly avail: number;
  readonly debt: number;
  readonly balance_version: number;
}

function booked(rows: readonly LineRow[]): { orgs: PostedOrg[]; rejected: Rejected[] } {
  const orgs = new Map<OrgId, { orgId: OrgId; balance: Balance; tokens: TokenUse[] }>();
  const rejected: Rejected[] = [];
  for (const row of rows) {
    const { org_id: orgId, token_id: tokenId, rejected_id: requestId, reason } = row;
    if (requestId !== null) {
      rejected.push({ orgId, requestId, reason: reason ?? '' });
      continue;
    }
    const org = orgs.get(orgId) ?? { orgId, balance: balanceOf(row), tokens: [] };
    orgs.set(orgId, org);
    if (tokenId !== null) org.tokens.push(tokenUse({ ...row, token_id: tokenId }));
  }
  return { orgs: [...orgs.values()], rejected };
}

const balanceOf = (row: Pick<LineRow, 'avail' | 'balance_version' | 'month_spent' | 'month_ends_ms'>): Balance => ({
  avail: microCredits(row.avail),
  balanceVersion: row.balance_version,
  monthSpent: microCredits(row.month_spent),
  monthEndsAtMs: row.month_ends_ms,
});

const wallet = (row: WalletRow): PostedAdjustment => ({
  txId: row.tx_id,
  repeated: row.repeated,
  avail: row.avail,
  debt: row.debt,
  balanceVersion: row.balance_version,
});

const time = (ms: number | null | undefined): Date | null => (ms === undefined || ms === null ? null : new Date(ms));
