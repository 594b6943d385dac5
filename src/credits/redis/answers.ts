import { microCredits } from '../../domain/credits.js';
import { isOrgId, isRequestId, isTokenId, type OrgId } from '../../domain/ids.js';
import type { DueHold, HoldAnswer, OrgState, OrgTerms, StreamEntry, TokenTerms, Unavailable } from '../store.js';
import { unavailable } from './failures.js';

const BROKEN = unavailable('broken', false);
const RATE_SCOPES = new Set(['requests', 'tokens', 'concurrency'] as const);
const WINDOWS = new Set(['total', 'daily', 'weekly', 'monthly'] as const);
const CAP_SCOPES = new Set(['balance', 'quota', 'member', 'limit', 'non_critical'] as const);

export function holdAnswer(reply: readonly unknown[]): HoldAnswer {
  switch (reply[0]) {
    case 'held':
      return { kind: 'held', amount: amount(reply[1]), remaining: amount(reply[2]), repeated: reply[3] === 'repeated' };
    case 'short':
      return {
        kind: 'short',
        scope: oneOf(CAP_SCOPES, reply[1]),
        ...(reply[6] === undefined ? {} : { window: oneOf(WINDOWS, reply[6]) }),
        required: amount(reply[2]),
        available: amount(reply[3]),
        inFlight: amount(reply[4]),
        resetsAtMs: amount(reply[5]),
      };
    case 'rate_limited':
      return { kind: 'rate_limited', scope: oneOf(RATE_SCOPES, reply[1]), limit: amount(reply[2]), retryAfterMs: amount(reply[3]) };
    case 'stale': {
      const token = parsed<TokenTerms>(reply[1]);
      const org = parsed<OrgTerms>(reply[2]);
      return token && org ? { kind: 'stale', token, org } : BROKEN;
    }
    case 'duplicate':
      return typeof reply[1] === 'string' && isRequestId(reply[1]) ? { kind: 'duplicate', requestId: reply[1] } : BROKEN;
    case 'settled':
    case 'unknown_token':
    case 'token_revoked':
    case 'token_expired':
    case 'token_paused':
    case 'org_suspended':
      return { kind: reply[0] };
    default:
      return BROKEN;
  }
}

/** Terms came from us, but through a store that others can write to: what cannot be read is not acted upon. */
export function parsed<T extends { readonly version: number }>(json: unknown): T | undefined {
  try {
    const value = JSON.parse(String(json));
    return typeof value === 'object' && value !== null && Number.isSafeInteger(value.version) ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}

/** A number that a script sent as text. */
export function amount(text: unknown) {
  return microCredits(typeof text === 'string' && /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN);
}

const HOLD = /^(\d+)\|(\d+)\|(tok_[0-9A-Za-z]+)(?:\|(\d+))?$/;
const ENDED = /^([FC])\|(\d+)\|(tok_[0-9A-Za-z]+)$/;

/** A hold as `holdText` in lua/prelude/sums.lua writes it. */
export function holdOf(
  orgId: OrgId,
  requestId: string,
  stored: string,
  note: string,
): (DueHold & { readonly deadlineMs: number }) | undefined {
  const [, held, floor, tokenId = '', deadline] = HOLD.exec(stored) ?? [];
  if (!isTokenId(tokenId) || !isRequestId(requestId)) return undefined;
  return { requestId, orgId, tokenId, amount: amount(held), floor: amount(floor), note, deadlineMs: Number(deadline ?? 0) };
}

export function orgState(reply: readonly unknown[], orgId: OrgId): OrgState | undefined | Unavailable {
  if (reply[0] === 'unknown') return undefined;
  if (reply[0] !== 'org') return BROKEN;
  const [avail, balanceVersion, monthSpent, monthEndsAtMs, held, pend, termsVersion, overdraft] = reply.slice(1, 9).map(amount);
  const holds = triples(reply[9]).map(([id, facts, note]) => holdOf(orgId, id, facts, note));
  const pending = pairs(reply[10]).map(([requestId, stored]) => {
    const [, kind, cost, tokenId = ''] = ENDED.exec(stored) ?? [];
    if (!isTokenId(tokenId) || !isRequestId(requestId)) return undefined;
    return { requestId, tokenId, kind: kind === 'F' ? ('floor' as const) : ('final' as const), cost: amount(cost) };
  });
  if (avail === undefined || monthSpent === undefined || held === undefined || pend === undefined || overdraft === undefined) return BROKEN;
  return {
    balance: { avail, balanceVersion: balanceVersion ?? 0, monthSpent, monthEndsAtMs: monthEndsAtMs ?? 0 },
    termsVersion: termsVersion ?? 0,
    overdraft,
    held,
    pend,
    spendable: microCredits(avail - pend - held + overdraft),
    holds: holds.filter((one) => one !== undefined),
    pending: pending.filter((one) => one !== undefined),
  };
}

const FACTS_BYTES = 65;

/** An entry of the stream; a strange one is an error, because nothing may be skipped on the way to the ledger. */
export function streamEntry([cursor, flat]: readonly [Buffer, readonly Buffer[]]): StreamEntry {
  const facts = flat.length === 2 && flat[1] ? chargeOf(flat[1]) : oldChargeOf(flat);
  const { kind, orgId, requestId, event } = facts;
  if (!isOrgId(orgId) || !isRequestId(requestId) || (kind !== 'F' && kind !== 'C')) throw new Error(`not a charge: stream entry ${cursor}`);
  return { cursor: String(cursor), orgId, requestId, kind: kind === 'F' ? 'floor' : 'final', cost: microCredits(facts.cost), event };
}

/** As `kinds.ts` writes a charge. */
const chargeOf = (stored: Buffer) => ({
  kind: stored.toString('latin1', 0, 1),
  cost: stored.length < FACTS_BYTES ? Number.NaN : stored.readDoubleLE(1),
  orgId: stored.toString('latin1', 9, 29),
  requestId: stored.toString('latin1', 29, FACTS_BYTES),
  event: stored.toString('utf8', FACTS_BYTES),
});

/** In layout 1 each of them was a field; entries are kept for some minutes after they were booked, and may be read again. */
function oldChargeOf(flat: readonly Buffer[]) {
  const fields = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) fields.set(String(flat[i]), String(flat[i + 1]));
  const [kind, cost, orgId = '', requestId = '', event = ''] = ['k', 'c', 'o', 'r', 'e'].map((name) => fields.get(name));
  return { kind, cost: amount(cost), orgId, requestId, event };
}

export function triples(flat: unknown): readonly (readonly [string, string, string])[] {
  const list = Array.isArray(flat) ? flat : [];
  const found: (readonly [string, string, string])[] = [];
  for (let i = 0; i + 2 < list.length; i += 3) found.push([String(list[i]), String(list[i + 1]), String(list[i + 2])]);
  return found;
}

function pairs(flat: unknown): readonly (readonly [string, string])[] {
  const list = Array.isArray(flat) ? flat : [];
  const found: (readonly [string, string])[] = [];
  for (let i = 0; i + 1 < list.length; i += 2) found.push([String(list[i]), String(list[i + 1])]);
  return found;
}

function oneOf<T>(allowed: ReadonlySet<T>, value: unknown): T {
  if (!allowed.has(value as T)) throw new Error(`the hot store answered ${String(value).slice(0, 40)}`);
  return value as T;
}
