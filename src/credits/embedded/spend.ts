import type { MicroCredits } from '../../domain/credits.js';
import { shardOf } from '../../domain/ids.js';
import type { Refusal } from '../../domain/refusal.js';
import type {
  ExtendAnswer,
  ExtendCommand,
  HoldAnswer,
  HoldCommand,
  ReholdAnswer,
  ReholdCommand,
  SettleAnswer,
  SettleCommand,
  TokenTerms,
  Unavailable,
} from '../store.js';
import { countRate, rateRefusal } from './rate.js';
import { capsOf, remainingOf, shortOf } from './room.js';
import {
  BROKEN,
  FULL,
  NOT_LOADED,
  type Org,
  orgOf,
  type Pending,
  type Shard,
  setHold,
  setPending,
  stateFor,
  type Token,
  tokenOf,
} from './state.js';
import type { Stream } from './stream.js';

export interface Spending {
  hold(command: HoldCommand): HoldAnswer;
  extend(command: ExtendCommand): ExtendAnswer;
  settle(command: SettleCommand): SettleAnswer;
  rehold(command: ReholdCommand): ReholdAnswer;
}

const CLAIM_MS = 86_400_000;
const CLAIMS_MAX = 100_000;

/** The verbs that move money. Each decides first and writes last, so a thrown error leaves nothing half done. */
export function createSpending(parts: {
  readonly shard: (name: string) => Shard;
  readonly stream: Stream;
  readonly nowMs: () => number;
}): Spending {
  return {
    hold: (command) => hold(parts.shard(shardOf(command.orgId)), parts.stream, command, parts.nowMs()),
    extend: (command) => extend(parts.shard(shardOf(command.orgId)), command, parts.nowMs()),
    settle: (command) => settle(parts.shard(shardOf(command.orgId)), parts.stream, command, parts.nowMs()),
    rehold: (command) => rehold(parts.shard(shardOf(command.orgId)), command, parts.nowMs()),
  };
}

function hold(shard: Shard, stream: Stream, command: HoldCommand, nowMs: number): HoldAnswer {
  if (stateFor(shard, command.orgId) !== 'open') return NOT_LOADED;
  const { requestId, amount } = command;
  const org = shard.orgs.get(command.orgId);
  const token = shard.tokens.get(command.tokenId);
  const known = alreadyKnown(shard, token, command, nowMs);
  if (known) return known;
  const allowed = recognise(token, command, nowMs);
  if (!('version' in allowed)) return allowed;
  if (!token || !org?.terms || !org.balance) return BROKEN;
  if (org.terms.status !== 'active') return { kind: 'org_suspended' };
  const claim = claimOf(shard, command, nowMs);
  if (claim.holder) return { kind: 'duplicate', requestId: claim.holder };
  if (allowed.version !== command.tokenVersion || org.terms.version !== command.orgVersion) {
    return { kind: 'stale', token: allowed, org: org.terms };
  }
  const limited = rateRefusal(allowed, token.open, token.rate, command.tokens, nowMs);
  if (limited) return limited;
  const caps = capsOf(shard, org, token, nowMs);
  const short = shortOf(caps, amount);
  if (short) return short;
  if (stream.isCrowded() || (claim.key && shard.claims.size >= CLAIMS_MAX)) return FULL;

  const deadlineMs = nowMs + command.leaseMs;
  setHold(org, token, requestId, { tokenId: command.tokenId, amount, floor: 0, deadlineMs, note: command.note });
  countRate(allowed, token.rate, command.tokens, nowMs);
  if (claim.key) shard.claims.set(claim.key, { requestId, endsAtMs: nowMs + CLAIM_MS });
  return { kind: 'held', amount, remaining: remainingOf(caps, amount), repeated: false };
}

/** The first answer again, for a request that is running or has ended. */
function alreadyKnown(shard: Shard, token: Token | undefined, command: HoldCommand, nowMs: number): HoldAnswer | undefined {
  const org = shard.orgs.get(command.orgId);
  const held = org?.holds.get(command.requestId);
  const ended = org?.pending.get(command.requestId);
  if (!org || !(held ?? ended)) return undefined;
  if (!org.balance || (held ?? ended)?.tokenId !== command.tokenId) return BROKEN;
  if (!held) return { kind: 'settled' };
  const remaining = remainingOf(capsOf(shard, org, token, nowMs), 0);
  return { kind: 'held', amount: held.amount as MicroCredits, remaining, repeated: true };
}

/** Whoever does not know the secret learns nothing about the token, not even that it was revoked. */
function recognise(token: Token | undefined, command: HoldCommand, nowMs: number): TokenTerms | Refusal {
  const terms = token?.terms;
  if (!terms || terms.orgId !== command.orgId) return { kind: 'unknown_token' };
  const inGrace = terms.grace?.digest === command.digest && nowMs < terms.grace.endsAtMs;
  if (terms.digest !== command.digest && !inGrace) return { kind: 'unknown_token' };
  if (terms.status === 'revoked') return { kind: 'token_revoked' };
  if (terms.expiresAtMs !== 0 && terms.expiresAtMs <= nowMs) return { kind: 'token_expired' };
  if (terms.status === 'paused') return { kind: 'token_paused' };
  return terms;
}

function claimOf(shard: Shard, command: HoldCommand, nowMs: number) {
  if (command.idempotencyKey === null) return { key: undefined, holder: undefined };
  for (const [key, { endsAtMs }] of shard.claims) {
    if (endsAtMs > nowMs) break;
    shard.claims.delete(key);
  }
  const key = `${command.tokenId}:${command.idempotencyKey}`;
  const claim = shard.claims.get(key);
  return { key, holder: claim && claim.endsAtMs > nowMs && claim.requestId !== command.requestId ? claim.requestId : undefined };
}

function extend(shard: Shard, command: ExtendCommand, nowMs: number): ExtendAnswer {
  const state = stateFor(shard, command.orgId);
  if (state === 'absent') return NOT_LOADED;
  const org = shard.orgs.get(command.orgId);
  const held = org?.holds.get(command.requestId);
  if (!org || !held) return { kind: 'gone' };
  const unreadable = unreadableFor(state, org, held.tokenId, command);
  if (unreadable) return unreadable;
  const token = tokenOf(shard, held.tokenId);
  const more = Math.max(0, command.amount - held.amount);
  const fits = more === 0 || (state === 'open' && org.balance && !shortOf(capsOf(shard, org, token, nowMs), more));
  const amount = (fits ? held.amount + more : held.amount) as MicroCredits;
  const floor = Math.max(held.floor, command.floor);
  const deadlineMs = Math.max(held.deadlineMs, nowMs + command.leaseMs);
  // A late copy of an older heartbeat must not put its older note over a newer one.
  const note = command.floor >= held.floor ? command.note : held.note;
  setHold(org, token, command.requestId, { tokenId: held.tokenId, amount, floor, deadlineMs, note });
  // While it is filled nobody knows what is left: that is no reason to say that nothing is.
  return { kind: fits || state !== 'open' ? 'extended' : 'short', amount };
}

function settle(shard: Shard, stream: Stream, command: SettleCommand, nowMs: number): SettleAnswer {
  const { requestId, orgId, tokenId, kind, cost, event } = command;
  const state = stateFor(shard, orgId);
  if (state === 'absent') return NOT_LOADED;
  const org = state === 'filling' ? orgOf(shard, orgId) : shard.orgs.get(orgId);
  if (!org) return BROKEN;
  const held = org.holds.get(requestId);
  const before = org.pending.get(requestId);
  const unreadable = unreadableFor(state, org, (held ?? before)?.tokenId ?? tokenId, command);
  if (unreadable) return unreadable;
  if (command.ifDue && (!held || held.deadlineMs > nowMs)) return { kind: 'not_due' };
  const grows = event !== null && isNewer(before, kind, cost);
  if (grows && stream.isFull()) return FULL;

  const token = tokenOf(shard, tokenId);
  if (held) setHold(org, token, requestId, undefined);
  if (grows) {
    setPending(org, token, requestId, { tokenId, kind, cost });
    stream.add(shard, { orgId, requestId, kind, cost, event }, nowMs);
  }
  const remaining = remainingOf(capsOf(shard, org, token, nowMs), 0);
  return { kind: 'settled', remaining, repeated: !held && !grows, epoch: shard.epoch };
}

function rehold(shard: Shard, command: ReholdCommand, nowMs: number): ReholdAnswer {
  const { requestId, orgId, tokenId } = command;
  const state = stateFor(shard, orgId);
  if (state === 'absent') return NOT_LOADED;
  const org = state === 'filling' ? orgOf(shard, orgId) : shard.orgs.get(orgId);
  if (!org) return BROKEN;
  const held = org.holds.get(requestId);
  const ended = org.pending.get(requestId);
  const unreadable = unreadableFor(state, org, (held ?? ended)?.tokenId ?? tokenId, command);
  if (unreadable) return unreadable;
  if (ended) return { kind: 'settled' };
  setHold(org, tokenOf(shard, tokenId), requestId, {
    tokenId,
    amount: Math.max(held?.amount ?? 0, command.amount),
    floor: Math.max(held?.floor ?? 0, command.floor),
    deadlineMs: Math.max(held?.deadlineMs ?? 0, nowMs + command.leaseMs),
    note: held && held.floor > command.floor ? held.note : command.note,
  });
  return { kind: 'held' };
}

/** Nothing is counted against a balance nobody knows, except while the store is being filled; nor for a stranger's token. */
function unreadableFor(state: Shard['state'], org: Org, owner: string, command: { readonly tokenId: string }): Unavailable | undefined {
  return owner !== command.tokenId || (state === 'open' && !org.balance) ? BROKEN : undefined;
}

/** None < floor (the larger wins) < final. */
function isNewer(before: Pending | undefined, kind: 'floor' | 'final', cost: number): boolean {
  if (!before) return true;
  if (before.kind === 'final') return false;
  return kind === 'final' || cost > before.cost;
}
