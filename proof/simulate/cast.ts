import type { OrgTerms, TokenTerms } from '../../src/credits/store.js';
import { type MicroCredits, microCredits } from '../../src/domain/credits.js';
import { type OrgId, type RequestId, shardOf, type TokenId } from '../../src/domain/ids.js';

/** Who takes part: few organizations on few shards, so that everything happens to everybody all the time. */
export const SHARDS: readonly string[] = ['00', '07'];
export const GATEWAYS: readonly string[] = ['g0', 'g1', 'g2'];
export const DRAINS: readonly string[] = ['d0', 'd1'];
export const HEALS: readonly string[] = ['h0', 'h1'];

/** No tick ends exactly when a lease does, so that a store with a clock of its own agrees about who is due. */
export const LEASE_MS = 20_250;
export const REHOLD_MS = 1_500;

export const ORGS: readonly OrgId[] = [orgId('00', 0), orgId('00', 1), orgId('07', 2)];
export const TOKENS: readonly TokenId[] = [tokenId('00', 0), tokenId('00', 1), tokenId('00', 2), tokenId('07', 3), tokenId('07', 4)];

const OWNER: readonly number[] = [0, 0, 1, 2, 2];

export const orgName = (id: OrgId): string => `o${ORGS.indexOf(id)}`;
export const tokenName = (id: TokenId): string => `t${TOKENS.indexOf(id)}`;
export const orgCalled = (name: string): OrgId => ORGS[Number(name.slice(1))] ?? fail(name);
export const tokenCalled = (name: string): TokenId => TOKENS[Number(name.slice(1))] ?? fail(name);
export const ownerOf = (token: TokenId): OrgId => ORGS[OWNER[TOKENS.indexOf(token)] ?? -1] ?? fail(token);
export const digestOf = (token: TokenId): string => TOKENS.indexOf(token).toString(16).padStart(64, '0');
export const orgsOf = (shard: string): readonly OrgId[] => ORGS.filter((org) => shardOf(org) === shard);
export const tokensOf = (org: OrgId): readonly TokenId[] => TOKENS.filter((token) => ownerOf(token) === org);

/** `r42` ↔ the 42nd request id; ids rise with the number, as real ones do with time. */
export function requestCalled(name: string): RequestId {
  const number = Number(name.slice(1));
  const time = (0x019000000000 + number).toString(16).padStart(12, '0');
  return `req_${time}70008${number.toString(16).padStart(15, '0')}` as RequestId;
}
export const requestName = (id: RequestId): string => `r${Number.parseInt(id.slice(21), 16)}`;

export function firstTerms(org: OrgId): OrgTerms {
  const at = ORGS.indexOf(org);
  return {
    orgId: org,
    version: 1,
    status: 'active',
    overdraft: microCredits(at === 1 ? 500 : 0),
    limit: at === 2 ? microCredits(40_000) : null,
    limitAction: 'block_all',
    criticalCeiling: null,
    group: 'default',
    prices: null,
  };
}

export function firstTokenTerms(token: TokenId): TokenTerms {
  const at = TOKENS.indexOf(token);
  return {
    tokenId: token,
    orgId: ownerOf(token),
    version: 1,
    digest: digestOf(token),
    grace: null,
    status: 'active',
    expiresAtMs: 0,
    quotas: at === 1 ? [{ window: 'total', cap: microCredits(15_000) }] : [],
    member: shared(token),
    requestsPerMinute: 0,
    tokensPerMinute: 0,
    concurrency: at === 3 ? 4 : 0,
    critical: false,
    models: null,
    ips: null,
    agent: null,
  };
}

/** The tokens of the last organization are those of one member, who has a monthly quota. */
function shared(token: TokenId): TokenTerms['member'] {
  const orgId = ownerOf(token);
  return orgId === ORGS[2] ? { id: MEMBER, cap: microCredits(25_000), tokens: tokensOf(orgId) } : null;
}
export const MEMBER = 'usr_one';

export interface Facts {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
}

/** The row of a charge as it travels: written by a gateway or a sweep, carried unread by the store, read when posted. */
export function eventOf({ requestId, orgId, tokenId }: Facts, kind: 'floor' | 'final', cost: number): string {
  return `{"request_id":"${requestId}","org_id":"${orgId}","token_id":"${tokenId}","kind":"${kind}","cost":${cost}}`;
}

export const micro = (value: number): MicroCredits => value as MicroCredits;

function orgId(shard: string, number: number): OrgId {
  return `org_${shard}${String(number).padStart(14, '0')}` as OrgId;
}

function tokenId(shard: string, number: number): TokenId {
  return `tok_${shard}${String(number).padStart(12, '0')}` as TokenId;
}

function fail(name: string): never {
  throw new Error(`nobody is called ${name}`);
}
