import type { TokenId } from '../../domain/ids.js';
import type { AppliedAnswer, AppliedCommand, LookupAnswer, OrgSnapshot, OrgTerms, ProjectAnswer, TokenTerms } from '../store.js';
import { capsOf, remainingOf } from './room.js';
import {
  BROKEN,
  isExpected,
  NOT_LOADED,
  type Org,
  orgOf,
  type Pending,
  type Shard,
  setPending,
  stateFor,
  type Token,
  tokenOf,
} from './state.js';

/** The verbs by which Postgres tells the store what it knows. */
export function lookup(shard: Shard, tokenId: TokenId): LookupAnswer {
  if (stateFor(shard, tokenId) !== 'open') return NOT_LOADED;
  const token = shard.tokens.get(tokenId)?.terms;
  if (!token) return { kind: 'unknown_token' };
  if (stateFor(shard, token.orgId) !== 'open') return NOT_LOADED;
  const org = shard.orgs.get(token.orgId)?.terms;
  return org ? { kind: 'found', token, org } : BROKEN;
}

export function project(shard: Shard, terms: { readonly org: OrgTerms } | { readonly token: TokenTerms }): ProjectAnswer {
  if (shard.state === 'absent') return NOT_LOADED;
  if ('org' in terms) return raiseTerms(orgOf(shard, terms.org.orgId), terms.org);
  return raiseTerms(tokenOf(shard, terms.token.tokenId), terms.token);
}

function raiseTerms<T extends { readonly version: number }>(place: { terms: T | undefined }, terms: T): ProjectAnswer {
  if (place.terms && place.terms.version >= terms.version) return { kind: 'older' };
  place.terms = structuredClone(terms);
  return { kind: 'projected' };
}

export function applied(shard: Shard, command: AppliedCommand, nowMs: number): AppliedAnswer {
  if (stateFor(shard, command.orgId) !== 'open') return NOT_LOADED;
  const { balance } = command;
  const org = orgOf(shard, command.orgId);
  for (const { tokenId, used } of command.tokens) {
    // Also of a token whose terms are not here yet, or no longer: its quota counts from the use as soon as they are.
    const token = tokenOf(shard, tokenId);
    if (token.useVersion >= balance.balanceVersion) continue;
    token.use = [...used];
    token.useVersion = balance.balanceVersion;
  }
  for (const done of command.clear) {
    const pending = org.pending.get(done.requestId);
    if (pending && !isNewerThan(pending, done)) setPending(org, tokenOf(shard, pending.tokenId), done.requestId, undefined);
  }
  if (!org.balance || balance.balanceVersion > org.balance.balanceVersion) org.balance = { ...balance };
  return { kind: 'applied', remaining: remainingOf(capsOf(shard, org, undefined, nowMs), 0) };
}

function isNewerThan(pending: Pending, done: { readonly kind: 'floor' | 'final'; readonly cost: number }): boolean {
  if (done.kind === 'final') return false;
  return pending.kind === 'final' || pending.cost > done.cost;
}

/**
 * Postgres is the truth for money: the first reload of a life of the data sets whatever it says, a later one only what is
 * newer, or a slow healer would bring back spent credits. Terms keep the higher version, or it could undo a revocation.
 */
export function load(shard: Shard, { terms, balance, tokens }: OrgSnapshot): void {
  const org = orgOf(shard, terms.orgId);
  if (shard.state === 'open' && !isExpected(shard, terms.orgId) && org.balance) return;
  raiseTerms(org, terms);
  if (org.loadedIn !== shard.epoch || !org.balance || balance.balanceVersion > org.balance.balanceVersion) org.balance = { ...balance };
  org.loadedIn = shard.epoch;
  rebuildOrg(org);
  for (const one of tokens) {
    const token = tokenOf(shard, one.terms.tokenId);
    raiseTerms(token, one.terms);
    if (token.loadedIn !== shard.epoch || balance.balanceVersion > token.useVersion) {
      token.use = [...one.use.used];
      token.useVersion = balance.balanceVersion;
    }
    token.loadedIn = shard.epoch;
    rebuildToken(org, token, one.terms.tokenId);
    shard.expected?.delete(one.terms.tokenId);
  }
  shard.expected?.delete(terms.orgId);
  shard.wanted.delete(terms.orgId);
}

function rebuildOrg(org: Org): void {
  org.held = 0;
  org.pend = 0;
  for (const { amount } of org.holds.values()) org.held += amount;
  for (const { cost } of org.pending.values()) org.pend += cost;
}

function rebuildToken(org: Org, token: Token, tokenId: TokenId): void {
  token.held = 0;
  token.pend = 0;
  token.open = 0;
  for (const held of org.holds.values()) {
    if (held.tokenId !== tokenId) continue;
    token.held += held.amount;
    token.open += 1;
  }
  for (const pending of org.pending.values()) if (pending.tokenId === tokenId) token.pend += pending.cost;
}
