import type { MicroCredits } from '../domain/credits.js';
import type { OrgId, RequestId, TokenId } from '../domain/ids.js';
import type { Refusal } from '../domain/refusal.js';

/**
 * The hot store: who may spend, what is left, what is set aside. This file is the contract; `redis/` and `embedded/`
 * keep it, `test/credits/contract.ts` checks both.
 *
 *   spendable = avail − pend − held + overdraft
 *
 * - `avail` comes only from Postgres and is accepted only with a higher `balanceVersion` (set, never added to).
 * - `held` are open holds, `pend` are settled charges that Postgres does not have yet. Both are kept per request id, plus
 *   a running sum for the organization and for the token.
 * - What is known of a request only grows: nothing < floor (the larger wins) < final. So any order, duplicate or delay of
 *   the same commands ends in the same balances.
 * - What a token or organization *may do* carries a terms version of its own and never moves money.
 * - Every command validates everything before it writes anything. Repeating a command changes nothing.
 * - When the store cannot answer truthfully (unreachable, timed out, wiped, replaced, still filling) it answers
 *   `unavailable`. It never answers from an unknown balance, and never guesses.
 */
export interface CreditStore {
  /** What a process needs to know before its first hold for a token. */
  lookup(tokenId: TokenId): Promise<LookupAnswer>;

  /**
   * Authenticates and sets credits aside, in one step, all limits at once; nothing is written unless everything passes.
   * Repeating a request id returns the first answer. A hold ends by `settle`, or by the sweep after its lease.
   * An amount of 0 is admitted at any balance.
   */
  hold(command: HoldCommand): Promise<HoldAnswer>;

  /** Renews the lease of a running request, raises its floor (never lowers it) and may raise its hold. */
  extend(command: ExtendCommand): Promise<ExtendAnswer>;

  /**
   * Ends a hold with a charge, possibly 0, and queues `event` for the drain. Accepts requests it has never heard of (the
   * store was lost) and requests already swept (a final replaces a floor). A second final for the same id changes
   * nothing. With `ifDue` it acts only when the lease has really run out: that is the sweep.
   */
  settle(command: SettleCommand): Promise<SettleAnswer>;

  /** Puts an open hold back after the store was lost. Not limited by any cap: the request is already running. */
  rehold(command: ReholdCommand): Promise<ReholdAnswer>;

  /**
   * Writes what a token or organization may do; ignored unless `version` is higher than what is there. Where it was lost, it
   * is written again, but never an older one than was told before.
   */
  project(terms: { readonly org: OrgTerms } | { readonly token: TokenTerms }): Promise<ProjectAnswer>;

  /**
   * Tells the store what Postgres now says: sets balance and token use if `balanceVersion` is higher, and forgets the
   * named pending charges (each only if it is not newer in kind than the one applied), in one step.
   */
  applied(command: AppliedCommand): Promise<AppliedAnswer>;

  /** Open holds of a shard whose lease has run out, oldest first. */
  due(shard: string, limit: number): Promise<readonly DueHold[]>;

  /** Settled charges of a shard after a cursor ('' = from the start), oldest first. Each shard is read by itself. */
  entries(shard: string, after: string, limit: number): Promise<readonly StreamEntry[]>;

  /**
   * Drops entries up to and including `cursor` that are also older than `keepMs`. With the `epoch` in which they were read
   * nothing goes in any other life of the data: a stale copy brings back charges as pending, and needs their entries.
   */
  trim(shard: string, cursor: string, keepMs: number, epoch?: string): Promise<void>;

  /**
   * Which of these settlements are not in Postgres yet, and under which epoch that was seen. A settlement is confirmed
   * when it is no longer listed under the very epoch its `settle` answered with; under another one it must be sent again.
   */
  pending(orgId: OrgId, requestIds: readonly RequestId[]): Promise<PendingAnswer>;

  /** The state of every shard as the live server has it. */
  shards(): Promise<readonly ShardState[]>;

  /**
   * Moves a shard from one state to the next, compare-and-set on `from`: `filling` starts a reload (only `rehold`,
   * `settle`, `extend`, `project`, `expect`, `load` are accepted), `open` ends it. `serving` opens it before all of it is
   * loaded: whoever was named by `expect` and is not loaded yet is still being filled, everybody else is open. False when
   * somebody else was first.
   */
  transition(shard: string, from: ShardState, to: 'filling' | 'serving' | 'open'): Promise<boolean>;

  /**
   * While a shard is filling: names organizations with all their tokens that are still to be loaded. False when names were lost,
   * those said before among them: no others are taken until it is filled anew, and it must not serve before all of it is loaded.
   */
  expect(shard: string, accounts: readonly ExpectedOrg[]): Promise<boolean>;

  /** Organizations that somebody asked for while they were expected, each answered once: they are to be loaded first. */
  wanted(shard: string, limit: number): Promise<readonly OrgId[]>;

  /**
   * During a reload: sets (never adds) terms, balances and token use of these organizations; rebuilds held and pend sums. In a
   * shard that serves only those are set that are still expected, or of which no balance is known. With the `epoch` in which they were read nothing is set in any
   * other life of the data: what was read before is no news there, and whoever is loaded may spend.
   */
  load(shard: string, orgs: readonly OrgSnapshot[], epoch?: string): Promise<void>;

  /** Everything known of an organization, for reconcile and for the balance page. */
  inspect(orgId: OrgId): Promise<OrgState | undefined | Unavailable>;

  /** Start-up checks; the sentence says what is wrong and what to do. */
  check(): Promise<{ readonly ok: true } | { readonly ok: false; readonly sentence: string }>;

  close(): Promise<void>;
}

export interface OrgTerms {
  readonly orgId: OrgId;
  readonly version: number;
  readonly status: 'active' | 'suspended';
  /** How far below zero the wallet may go; 0 unless the operator says otherwise. */
  readonly overdraft: MicroCredits;
  /** Monthly spending cap; null = none. */
  readonly limit: MicroCredits | null;
  readonly limitAction: 'block_all' | 'pause_noncritical';
  /** Up to here critical tokens may go on when `limitAction` is `pause_noncritical`; null = same as the limit. */
  readonly criticalCeiling: MicroCredits | null;
  /** Price group, and prices of this organization's own: pattern → multiplier or price entry, as validated by pricing. */
  readonly group: string;
  readonly prices: Readonly<Record<string, unknown>> | null;
}

export type QuotaWindow = 'total' | 'daily' | 'weekly' | 'monthly';

export interface TokenTerms {
  readonly tokenId: TokenId;
  readonly orgId: OrgId;
  readonly version: number;
  /** Keyed digest of the secret (64 hex digits). */
  readonly digest: string;
  /** The previous secret's digest and until when it still works; null when there is none. */
  readonly grace: { readonly digest: string; readonly endsAtMs: number } | null;
  readonly status: 'active' | 'paused' | 'revoked';
  /** 0 = never. */
  readonly expiresAtMs: number;
  readonly quotas: readonly { readonly window: QuotaWindow; readonly cap: MicroCredits }[];
  /** The monthly quota of the member whose token this is; null when they have none. */
  readonly member: MemberQuota | null;
  /** 0 = no limit. */
  readonly requestsPerMinute: number;
  readonly tokensPerMinute: number;
  readonly concurrency: number;
  readonly critical: boolean;
  /** Allowed model names, `*` as wildcard at the end; null = all. */
  readonly models: readonly string[] | null;
  /** Allowed addresses as CIDR; null = all. */
  readonly ips: readonly string[] | null;
  readonly agent: string | null;
}

/**
 * What all tokens of a member may spend in a month, together. No sum is kept of it: what is left is the cap, less what each
 * of the tokens has used this month, holds and owes. All of them are in one shard, so a hold looks at them in its one step.
 * Every token of the member has these terms; whoever changes one of them tells all, before it counts as changed. While one of
 * `tokens` (this one is among them) cannot be read the store does not guess what is left: it sets nothing more aside.
 */
export interface MemberQuota {
  /** Whose it is. */
  readonly id: string;
  readonly cap: MicroCredits;
  readonly tokens: readonly TokenId[];
}

/** A hold looks at each of them; and revoked ones count until the end of the month. */
export const MEMBER_TOKENS_MAX = 100;

/** What a token has used in a window that ends at `endsAtMs` (0 = never); afterwards it counts as 0. */
export interface TokenUse {
  readonly tokenId: TokenId;
  readonly used: readonly { readonly window: QuotaWindow; readonly amount: MicroCredits; readonly endsAtMs: number }[];
}

export interface Balance {
  /** Live grants plus debt; may be negative. */
  readonly avail: MicroCredits;
  readonly balanceVersion: number;
  /** Charged in the month that ends at `monthEndsAtMs`. */
  readonly monthSpent: MicroCredits;
  readonly monthEndsAtMs: number;
}

/** The store cannot answer. `maybeDone`: the command may have been executed all the same, so undo it by id. */
export interface Unavailable {
  readonly kind: 'unavailable';
  readonly reason: 'unreachable' | 'timeout' | 'not_loaded' | 'full' | 'broken';
  readonly maybeDone: boolean;
}

export type LookupAnswer =
  | { readonly kind: 'found'; readonly token: TokenTerms; readonly org: OrgTerms }
  | { readonly kind: 'unknown_token' }
  | Unavailable;

export interface HoldCommand {
  readonly requestId: RequestId;
  readonly tokenId: TokenId;
  readonly orgId: OrgId;
  readonly digest: string;
  /** The versions the price was computed from. */
  readonly tokenVersion: number;
  readonly orgVersion: number;
  readonly amount: MicroCredits;
  /** Upper bound of tokens, counted against tokens per minute. */
  readonly tokens: number;
  readonly leaseMs: number;
  /** JSON of a ChargeEvent with the floor's facts, so that whoever sweeps this hold can write its row. */
  readonly note: string;
  /**
   * Digest (64 hex digits) of the client's Idempotency-Key, or null. Claimed for this token for 24 hours by the hold that
   * succeeds, in the same step; a refused hold claims nothing. Another request with it is told `duplicate`.
   */
  readonly idempotencyKey: string | null;
}

export type HoldAnswer =
  /** `remaining`: what this token could still spend after this hold: the least of wallet, quotas, its member's quota and limit. */
  | { readonly kind: 'held'; readonly amount: MicroCredits; readonly remaining: MicroCredits; readonly repeated: boolean }
  /** This request id has already ended. */
  | { readonly kind: 'settled' }
  /** Another request has claimed this idempotency key. */
  | { readonly kind: 'duplicate'; readonly requestId: RequestId }
  /** The terms changed since they were looked up: price again with these and ask again. */
  | { readonly kind: 'stale'; readonly token: TokenTerms; readonly org: OrgTerms }
  | Refusal
  | Unavailable;

export interface ExtendCommand {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  /** The new total hold; a lower or equal one only renews the lease. */
  readonly amount: MicroCredits;
  readonly floor: MicroCredits;
  readonly leaseMs: number;
  readonly note: string;
}

export type ExtendAnswer =
  /** `amount` is what it holds now; while it is being filled what it held before: ask again. */
  | { readonly kind: 'extended'; readonly amount: MicroCredits }
  /** The lease and the floor were renewed, the hold stays as it was: there is no more to set aside. */
  | { readonly kind: 'short'; readonly amount: MicroCredits }
  /** Swept or never known; the request should `rehold` or end. */
  | { readonly kind: 'gone' }
  | Unavailable;

export interface SettleCommand {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly kind: 'floor' | 'final';
  readonly cost: MicroCredits;
  /** JSON of the ChargeEvent; null gives a hold back without a row (the upstream was never asked). */
  readonly event: string | null;
  /** Only when the lease has run out by the store's own clock. */
  readonly ifDue?: boolean;
}

export type SettleAnswer =
  /** `epoch` names the life of the data in which this was written. */
  | { readonly kind: 'settled'; readonly remaining: MicroCredits; readonly repeated: boolean; readonly epoch: string }
  | { readonly kind: 'not_due' }
  | Unavailable;

export type PendingAnswer = { readonly kind: 'pending'; readonly ids: readonly RequestId[]; readonly epoch: string } | Unavailable;

export interface ReholdCommand {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly amount: MicroCredits;
  readonly floor: MicroCredits;
  readonly leaseMs: number;
  readonly note: string;
}

export type ReholdAnswer = { readonly kind: 'held' } | { readonly kind: 'settled' } | Unavailable;

export type ProjectAnswer = { readonly kind: 'projected' } | { readonly kind: 'older' } | Unavailable;

export interface AppliedCommand {
  readonly orgId: OrgId;
  readonly balance: Balance;
  readonly tokens: readonly TokenUse[];
  readonly clear: readonly { readonly requestId: RequestId; readonly kind: 'floor' | 'final'; readonly cost: MicroCredits }[];
}

export type AppliedAnswer = { readonly kind: 'applied'; readonly remaining: MicroCredits } | Unavailable;

export interface DueHold {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly amount: MicroCredits;
  readonly floor: MicroCredits;
  readonly note: string;
}

export interface StreamEntry {
  readonly cursor: string;
  readonly orgId: OrgId;
  readonly requestId: RequestId;
  readonly kind: 'floor' | 'final';
  readonly cost: MicroCredits;
  readonly event: string;
}

export interface ShardState {
  readonly shard: string;
  /** `absent`: empty, replaced or rolled back; it must be reloaded. */
  readonly state: 'open' | 'filling' | 'absent';
  /** Open, and nobody is expected any more. */
  readonly whole: boolean;
  /** Opaque: names one life of the data. A settlement is confirmed only under the epoch it was sent in. */
  readonly epoch: string;
}

export interface ExpectedOrg {
  readonly orgId: OrgId;
  readonly tokenIds: readonly TokenId[];
}

export interface OrgSnapshot {
  readonly terms: OrgTerms;
  readonly balance: Balance;
  readonly tokens: readonly { readonly terms: TokenTerms; readonly use: TokenUse }[];
}

export interface OrgState {
  readonly balance: Balance;
  readonly termsVersion: number;
  readonly overdraft: MicroCredits;
  readonly held: MicroCredits;
  readonly pend: MicroCredits;
  readonly spendable: MicroCredits;
  readonly holds: readonly (DueHold & { readonly deadlineMs: number })[];
  readonly pending: readonly {
    readonly requestId: RequestId;
    readonly tokenId: TokenId;
    readonly kind: 'floor' | 'final';
    readonly cost: MicroCredits;
  }[];
}
