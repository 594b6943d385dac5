import type { OrgId, RequestId, TokenId } from '../../domain/ids.js';
import type { Balance, OrgTerms, StreamEntry, TokenTerms, TokenUse, Unavailable } from '../store.js';
import type { RateWindow } from './rate.js';

/** One shard: what Redis keeps under one hash tag. */
export interface Shard {
  readonly name: string;
  state: 'open' | 'filling' | 'absent';
  /** Open, while organizations are still expected. */
  serving: boolean;
  /** Who is still to be loaded: id of an organization or token → that organization. Undefined until they are named. */
  expected: Map<OrgId | TokenId, OrgId> | undefined;
  readonly wanted: Set<OrgId>;
  epoch: string;
  readonly orgs: Map<OrgId, Org>;
  readonly tokens: Map<TokenId, Token>;
  /** Token id and idempotency key → the request that claimed it; oldest first. */
  readonly claims: Map<string, { readonly requestId: RequestId; readonly endsAtMs: number }>;
  stream: StreamEntry[];
  lastMs: number;
  lastSeq: number;
}

export interface Org {
  terms: OrgTerms | undefined;
  /** Undefined until Postgres has said it: an unknown balance is never taken for 0. */
  balance: Balance | undefined;
  /** The life of the data in which a reload last said it. */
  loadedIn: string;
  held: number;
  pend: number;
  readonly holds: Map<RequestId, Hold>;
  readonly pending: Map<RequestId, Pending>;
}

export interface Token {
  terms: TokenTerms | undefined;
  use: TokenUse['used'];
  useVersion: number;
  loadedIn: string;
  held: number;
  pend: number;
  /** Number of open holds. */
  open: number;
  readonly rate: RateWindow;
}

export interface Hold {
  readonly tokenId: TokenId;
  amount: number;
  floor: number;
  deadlineMs: number;
  note: string;
}

export interface Pending {
  readonly tokenId: TokenId;
  readonly kind: 'floor' | 'final';
  readonly cost: number;
}

export function newShard(name: string): Shard {
  const [expected, wanted] = [undefined, new Set<OrgId>()];
  const kept = { orgs: new Map(), tokens: new Map(), claims: new Map(), stream: [], lastMs: 0, lastSeq: 0 };
  return { name, state: 'absent', serving: false, expected, wanted, epoch: '', ...kept };
}

/** In a shard that serves: whether this organization or token is still to be loaded. While nobody is named, everybody is. */
export function isExpected(shard: Shard, id: OrgId | TokenId): boolean {
  return shard.state === 'open' && shard.serving && (shard.expected === undefined || shard.expected.has(id));
}

/** The state of an organization: that of its shard, unless it is still expected there. Whoever is asked for is wanted. */
export function stateFor(shard: Shard, id: OrgId | TokenId): Shard['state'] {
  if (!isExpected(shard, id)) return shard.state;
  const orgId = shard.expected?.get(id);
  if (orgId) shard.wanted.add(orgId);
  return 'filling';
}

export function orgOf(shard: Shard, orgId: OrgId): Org {
  let org = shard.orgs.get(orgId);
  if (!org) {
    org = { terms: undefined, balance: undefined, loadedIn: '', held: 0, pend: 0, holds: new Map(), pending: new Map() };
    shard.orgs.set(orgId, org);
  }
  return org;
}

export function tokenOf(shard: Shard, tokenId: TokenId): Token {
  let token = shard.tokens.get(tokenId);
  if (!token) {
    token = { terms: undefined, use: [], useVersion: -1, loadedIn: '', held: 0, pend: 0, open: 0, rate: new Map() };
    shard.tokens.set(tokenId, token);
  }
  return token;
}

/** Writes a hold (or takes it away) together with the sums that depend on it. */
export function setHold(org: Org, token: Token, requestId: RequestId, next: Hold | undefined): void {
  const before = org.holds.get(requestId);
  const delta = (next?.amount ?? 0) - (before?.amount ?? 0);
  org.held += delta;
  token.held += delta;
  token.open += (next ? 1 : 0) - (before ? 1 : 0);
  if (next) org.holds.set(requestId, next);
  else org.holds.delete(requestId);
}

/** Writes what is known of an ended request (or forgets it) together with the sums that depend on it. */
export function setPending(org: Org, token: Token, requestId: RequestId, next: Pending | undefined): void {
  const delta = (next?.cost ?? 0) - (org.pending.get(requestId)?.cost ?? 0);
  org.pend += delta;
  token.pend += delta;
  if (next) org.pending.set(requestId, next);
  else org.pending.delete(requestId);
}

export const NOT_LOADED: Unavailable = { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };
export const BROKEN: Unavailable = { kind: 'unavailable', reason: 'broken', maybeDone: false };
export const FULL: Unavailable = { kind: 'unavailable', reason: 'full', maybeDone: false };
