import { MICRO_MAX } from '../domain/credits.js';
import { isOrgId, isRequestId, isTokenId, type OrgId, shardOf, type TokenId } from '../domain/ids.js';
import {
  type AppliedCommand,
  type Balance,
  type ExpectedOrg,
  type ExtendCommand,
  type HoldCommand,
  MEMBER_TOKENS_MAX,
  type MemberQuota,
  type OrgSnapshot,
  type OrgTerms,
  type ReholdCommand,
  type SettleCommand,
  type TokenTerms,
  type TokenUse,
  type Unavailable,
} from './store.js';

/** A command that no correct program sends. Thrown before any store sees it: nothing was written. */
export class InvalidCommand extends Error {
  readonly code = 'invalid_credit_command';
  readonly publicMessage = 'This request could not be accounted for. Nothing was charged.';
}

/** A question whose answer has no room for "cannot answer": reading a stream, listing what is due. */
export class StoreUnavailable extends Error {
  readonly code = 'credits_unavailable';
  readonly publicMessage = 'Credits cannot be checked right now. Try again in a moment.';
  readonly reason: Unavailable['reason'];
  constructor(reason: Unavailable['reason'], what: string) {
    super(`${what}: the hot store is ${reason}`);
    this.reason = reason;
  }
}

const LEASE_MAX_MS = 86_400_000;
const TOKENS_MAX = 1_000_000_000_000;
const TEXT_MAX = 1_000_000;
const VERSION_MAX = Number.MAX_SAFE_INTEGER;
const DIGEST = /^[0-9a-f]{64}$/;
const SHARD = /^(?:[0-5]\d|6[0-3])$/;

export function checkHold(command: HoldCommand): void {
  const token = checkRequest(command);
  if (token.digest !== command.digest || token.digest === '') {
    if (!DIGEST.test(command.digest)) refuse('digest', command.digest);
    token.digest = command.digest;
  }
  whole('tokenVersion', command.tokenVersion, 0, VERSION_MAX);
  whole('orgVersion', command.orgVersion, 0, VERSION_MAX);
  whole('amount', command.amount, 0, MICRO_MAX);
  whole('tokens', command.tokens, 0, TOKENS_MAX);
  whole('leaseMs', command.leaseMs, 1, LEASE_MAX_MS);
  text('note', command.note);
  const key = command.idempotencyKey;
  if (key !== null && !DIGEST.test(key)) refuse('idempotencyKey', key);
}

export function checkLease(command: ExtendCommand | ReholdCommand): void {
  checkRequest(command);
  whole('amount', command.amount, 0, MICRO_MAX);
  whole('floor', command.floor, 0, MICRO_MAX);
  whole('leaseMs', command.leaseMs, 1, LEASE_MAX_MS);
  text('note', command.note);
}

export function checkSettle(command: SettleCommand): void {
  checkRequest(command);
  if (command.kind !== 'floor' && command.kind !== 'final') refuse('kind', command.kind);
  whole('cost', command.cost, 0, MICRO_MAX);
  if (command.event === null) whole('cost of a hold given back', command.cost, 0, 0);
  else text('event', command.event);
}

export function checkApplied(command: AppliedCommand): void {
  checkOrgId(command.orgId);
  checkBalance(command.balance);
  for (const use of command.tokens) checkUse(use, command.orgId);
  for (const { requestId, kind, cost } of command.clear) {
    if (!isRequestId(requestId)) refuse('requestId', requestId);
    if (kind !== 'floor' && kind !== 'final') refuse('kind', kind);
    whole('cost', cost, 0, MICRO_MAX);
  }
}

export function checkSnapshot(shard: string, snapshot: OrgSnapshot): void {
  checkOrgTerms(snapshot.terms);
  if (shardOf(snapshot.terms.orgId) !== shard) refuse('shard', shard);
  checkBalance(snapshot.balance);
  for (const { terms, use } of snapshot.tokens) {
    checkTokenTerms(terms);
    if (terms.orgId !== snapshot.terms.orgId) refuse('orgId of a token', terms.orgId);
    if (use.tokenId !== terms.tokenId) refuse('tokenId of a use', use.tokenId);
    checkUse(use, terms.orgId);
  }
}

export function checkExpected(shard: string, { orgId, tokenIds }: ExpectedOrg): void {
  checkOrgId(orgId);
  if (shardOf(orgId) !== shard) refuse('shard', shard);
  for (const tokenId of tokenIds) {
    checkTokenId(tokenId);
    if (shardOf(tokenId) !== shard) refuse('tokenId', tokenId);
  }
}

export function checkOrgTerms(terms: OrgTerms): void {
  checkOrgId(terms.orgId);
  whole('version', terms.version, 1, VERSION_MAX);
  if (terms.status !== 'active' && terms.status !== 'suspended') refuse('status', terms.status);
  whole('overdraft', terms.overdraft, 0, MICRO_MAX);
  if (terms.limit !== null) whole('limit', terms.limit, 0, MICRO_MAX);
  if (terms.criticalCeiling !== null) whole('criticalCeiling', terms.criticalCeiling, 0, MICRO_MAX);
  if (terms.limitAction !== 'block_all' && terms.limitAction !== 'pause_noncritical') refuse('limitAction', terms.limitAction);
}

export function checkTokenTerms(terms: TokenTerms): void {
  checkTokenOf(terms.tokenId, terms.orgId);
  whole('version', terms.version, 1, VERSION_MAX);
  if (!DIGEST.test(terms.digest)) refuse('digest', terms.digest);
  if (terms.grace && !DIGEST.test(terms.grace.digest)) refuse('digest', terms.grace.digest);
  if (terms.grace) whole('grace', terms.grace.endsAtMs, 0, VERSION_MAX);
  if (!['active', 'paused', 'revoked'].includes(terms.status)) refuse('status', terms.status);
  whole('expiresAtMs', terms.expiresAtMs, 0, VERSION_MAX);
  whole('requestsPerMinute', terms.requestsPerMinute, 0, TOKENS_MAX);
  whole('tokensPerMinute', terms.tokensPerMinute, 0, TOKENS_MAX);
  whole('concurrency', terms.concurrency, 0, TOKENS_MAX);
  for (const quota of terms.quotas) {
    checkWindow(quota.window);
    whole('cap', quota.cap, 0, MICRO_MAX);
  }
  if (terms.member) checkMember(terms.member, terms);
}

function checkMember({ cap, tokens }: MemberQuota, { tokenId, orgId }: TokenTerms): void {
  whole('cap of a member', cap, 0, MICRO_MAX);
  whole('number of tokens of a member', tokens.length, 1, MEMBER_TOKENS_MAX);
  if (!tokens.includes(tokenId) || new Set(tokens).size < tokens.length) refuse('list of tokens of a member', tokens);
  for (const one of tokens) checkTokenOf(one, orgId);
}

export function checkShard(shard: string): void {
  if (!SHARD.test(shard)) refuse('shard', shard);
}

export function checkOrgId(orgId: OrgId): void {
  if (!isOrgId(orgId)) refuse('orgId', orgId);
}

export function checkTokenId(tokenId: TokenId): void {
  if (!isTokenId(tokenId)) refuse('tokenId', tokenId);
}

export function checkWhole(name: string, value: number, max: number): void {
  whole(name, value, 0, max);
}

interface Known {
  readonly orgId: OrgId;
  /** Empty until one was found in order. */
  digest: string;
}

/** Tokens that were found in order: whoever asks once asks again, and a look here costs a fiftieth of three patterns. */
const known = new Map<TokenId, Known>();
const KNOWN_MAX = 20_000;

function checkRequest({ requestId, tokenId, orgId }: { requestId: string; tokenId: TokenId; orgId: OrgId }): Known {
  if (!isRequestId(requestId)) refuse('requestId', requestId);
  const before = known.get(tokenId);
  if (before?.orgId === orgId) return before;
  checkTokenOf(tokenId, orgId);
  if (known.size >= KNOWN_MAX) known.clear();
  const found = { orgId, digest: '' };
  known.set(tokenId, found);
  return found;
}

function checkTokenOf(tokenId: TokenId, orgId: OrgId): void {
  checkTokenId(tokenId);
  checkOrgId(orgId);
  if (shardOf(tokenId) !== shardOf(orgId)) refuse('tokenId (another shard than its organization)', tokenId);
}

function checkBalance(balance: Balance): void {
  whole('avail', balance.avail, -VERSION_MAX, VERSION_MAX);
  whole('balanceVersion', balance.balanceVersion, 0, VERSION_MAX);
  whole('monthSpent', balance.monthSpent, 0, VERSION_MAX);
  whole('monthEndsAtMs', balance.monthEndsAtMs, 0, VERSION_MAX);
}

function checkUse(use: TokenUse, orgId: OrgId): void {
  checkTokenOf(use.tokenId, orgId);
  for (const { window, amount, endsAtMs } of use.used) {
    checkWindow(window);
    whole('used', amount, 0, VERSION_MAX);
    whole('endsAtMs', endsAtMs, 0, VERSION_MAX);
  }
}

function checkWindow(window: string): void {
  if (!['total', 'daily', 'weekly', 'monthly'].includes(window)) refuse('window', window);
}

function whole(name: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) refuse(name, value);
}

function text(name: string, value: string): void {
  if (typeof value !== 'string' || value.length === 0 || value.length > TEXT_MAX) refuse(name, typeof value);
}

function refuse(name: string, value: unknown): never {
  throw new InvalidCommand(`not a ${name}: ${String(value).slice(0, 80)}`);
}
