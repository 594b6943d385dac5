import type {
  AppliedCommand,
  Balance,
  CreditStore,
  ExtendCommand,
  HoldCommand,
  OrgState,
  OrgTerms,
  ReholdCommand,
  SettleCommand,
  TokenTerms,
  TokenUse,
} from '../../src/credits/store.js';
import type { MicroCredits } from '../../src/domain/credits.js';
import { newOrgId, newRequestId, newTokenId, type OrgId, type RequestId, shardOf, type TokenId } from '../../src/domain/ids.js';

export const DIGEST = 'a'.repeat(64);
export const DAY_MS = 86_400_000;
export const micro = (amount: number): MicroCredits => amount as MicroCredits;

/** An organization with one token in an open shard, and short words for the commands about them. */
export interface Subject {
  readonly store: CreditStore;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly shard: string;
  hold(amount: number, more?: Partial<HoldCommand>): ReturnType<CreditStore['hold']>;
  extend(requestId: RequestId, amount: number, more?: Partial<ExtendCommand>): ReturnType<CreditStore['extend']>;
  settle(requestId: RequestId, cost: number, more?: Partial<SettleCommand>): ReturnType<CreditStore['settle']>;
  rehold(requestId: RequestId, amount: number, more?: Partial<ReholdCommand>): ReturnType<CreditStore['rehold']>;
  applied(balance: Partial<Balance>, more?: Partial<AppliedCommand>): ReturnType<CreditStore['applied']>;
  state(): Promise<OrgState>;
}

export interface SubjectOptions {
  readonly avail?: number;
  readonly org?: Partial<OrgTerms>;
  readonly token?: Partial<TokenTerms>;
  readonly balance?: Partial<Balance>;
  readonly used?: TokenUse['used'];
  readonly shard?: number;
}

export function orgTerms(orgId: OrgId, more: Partial<OrgTerms> = {}): OrgTerms {
  return {
    orgId,
    version: 1,
    status: 'active',
    overdraft: micro(0),
    limit: null,
    limitAction: 'block_all',
    criticalCeiling: null,
    group: 'default',
    prices: null,
    ...more,
  };
}

export function tokenTerms(tokenId: TokenId, orgId: OrgId, more: Partial<TokenTerms> = {}): TokenTerms {
  return {
    tokenId,
    orgId,
    version: 1,
    digest: DIGEST,
    grace: null,
    status: 'active',
    expiresAtMs: 0,
    quotas: [],
    member: null,
    requestsPerMinute: 0,
    tokensPerMinute: 0,
    concurrency: 0,
    critical: false,
    models: null,
    ips: null,
    agent: null,
    ...more,
  };
}

export function balanceOf(avail: number, more: Partial<Balance> = {}): Balance {
  return { avail: micro(avail), balanceVersion: 1, monthSpent: micro(0), monthEndsAtMs: 0, ...more };
}

/** Fills and opens a shard unless it is open. */
export async function openShard(store: CreditStore, shard: string): Promise<void> {
  await moveTo(store, shard, 'filling');
  await moveTo(store, shard, 'open');
}

export async function moveTo(store: CreditStore, shard: string, to: 'filling' | 'serving' | 'open'): Promise<void> {
  const from = await stateOf(store, shard);
  const isThere = to === 'open' ? from.whole : from.state === (to === 'serving' ? 'open' : to) && !from.whole;
  if (!isThere && !(await store.transition(shard, from, to))) throw new Error(`shard ${shard} did not become ${to}`);
}

export async function stateOf(store: CreditStore, shard: string) {
  const state = (await store.shards()).find((one) => one.shard === shard);
  if (!state) throw new Error(`no shard ${shard}`);
  return state;
}

export async function createSubject(store: CreditStore, options: SubjectOptions = {}): Promise<Subject> {
  const orgId = newOrgId(options.shard ?? 7);
  const tokenId = newTokenId(orgId);
  const shard = shardOf(orgId);
  if ((await stateOf(store, shard)).state !== 'open') await openShard(store, shard);
  await store.project({ org: orgTerms(orgId, options.org) });
  await store.project({ token: tokenTerms(tokenId, orgId, options.token) });
  const tokens = options.used ? [{ tokenId, used: options.used }] : [];
  await store.applied({ orgId, balance: balanceOf(options.avail ?? 1_000, options.balance), tokens, clear: [] });
  return subject(store, orgId, tokenId);
}

export function subject(store: CreditStore, orgId: OrgId, tokenId: TokenId): Subject {
  const own = { orgId, tokenId };
  const lease = { leaseMs: 20_000, note: '{"kind":"floor"}' };
  const versions = { digest: DIGEST, tokenVersion: 1, orgVersion: 1, tokens: 10, idempotencyKey: null };
  return {
    store,
    ...own,
    shard: shardOf(orgId),
    hold: (amount, more) => store.hold({ requestId: newRequestId(), ...own, ...lease, ...versions, amount: micro(amount), ...more }),
    extend: (requestId, amount, more) => store.extend({ requestId, ...own, ...lease, amount: micro(amount), floor: micro(0), ...more }),
    settle: (requestId, cost, more) =>
      store.settle({ requestId, ...own, kind: 'final', cost: micro(cost), event: `{"cost":${cost}}`, ...more }),
    rehold: (requestId, amount, more) => store.rehold({ requestId, ...own, ...lease, amount: micro(amount), floor: micro(0), ...more }),
    applied: (balance, more) => store.applied({ orgId, balance: { ...balanceOf(1_000), ...balance }, tokens: [], clear: [], ...more }),
    state: async () => {
      const state = await store.inspect(orgId);
      if (!state || 'kind' in state) throw new Error(`no state: ${JSON.stringify(state)}`);
      return state;
    },
  };
}
