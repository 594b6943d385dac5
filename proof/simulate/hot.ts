import type {
  AppliedCommand,
  Balance,
  ExtendCommand,
  HoldCommand,
  OrgSnapshot,
  OrgTerms,
  SettleCommand,
  TokenTerms,
} from '../../src/credits/store.js';
import { type OrgId, type RequestId, shardOf, type TokenId } from '../../src/domain/ids.js';
import { type Call, lifeOf } from './calls.js';
import { ORGS, orgsOf, ownerOf, SHARDS, TOKENS, tokensOf } from './cast.js';

/** The contract of the hot store once more, as a pure model without sums: whatever can be derived is derived each time. */
export interface HotState {
  readonly shards: Map<string, HotShard>;
  readonly orgs: Map<OrgId, HotOrg>;
  readonly tokens: Map<TokenId, HotToken>;
}

interface HotShard {
  state: 'open' | 'filling' | 'absent';
  whole: boolean;
  /** Who is still to be loaded; undefined until they are named. */
  expected: Set<OrgId> | undefined;
  epoch: string;
}

export interface HotOrg {
  terms: OrgTerms | undefined;
  balance: Balance | undefined;
  /** Postgres has said the balance in this life of the data. */
  loaded: boolean;
  readonly holds: Map<RequestId, HotHold>;
  readonly pending: Map<RequestId, { readonly tokenId: TokenId; readonly kind: 'floor' | 'final'; readonly cost: number }>;
}

export interface HotHold {
  readonly tokenId: TokenId;
  readonly amount: number;
  readonly floor: number;
  readonly deadlineMs: number;
}

interface HotToken {
  terms: TokenTerms | undefined;
  used: number;
  useVersion: number;
}

/** `expected` says what a store must answer, in a few words; undefined leaves it open. */
export class Hot {
  state: HotState = emptyState();
  /** Leases in the store's time are this many times as long as in the run's. */
  private readonly scale: number;

  constructor(scale: number) {
    this.scale = scale;
  }

  wipe(): void {
    this.state = emptyState();
  }

  org(id: OrgId): HotOrg {
    const org = this.state.orgs.get(id);
    if (!org) throw new Error(`no organization ${id}`);
    return org;
  }

  token(id: TokenId): HotToken {
    const token = this.state.tokens.get(id);
    if (!token) throw new Error(`no token ${id}`);
    return token;
  }

  shard(name: string): HotShard {
    const shard = this.state.shards.get(name);
    if (!shard) throw new Error(`no shard ${name}`);
    return shard;
  }

  stateOf(org: OrgId): 'open' | 'filling' | 'absent' {
    const { state, whole, expected } = this.shard(shardOf(org));
    return state === 'open' && !whole && (expected === undefined || expected.has(org)) ? 'filling' : state;
  }

  expected({ verb, command }: Call, nowMs: number): string | undefined {
    switch (verb) {
      case 'hold':
        return this.hold(command, nowMs);
      case 'extend':
        return this.extend(command, nowMs);
      case 'settle':
        return this.settle(command, nowMs);
      case 'rehold':
        return this.rehold(command, nowMs);
      case 'project':
        return this.project(command);
      case 'applied':
        return this.applied(command);
      case 'due':
        return this.due(command.shard, nowMs);
      case 'pending':
        if (this.shard(shardOf(command.orgId)).state !== 'open') return NOT_LOADED;
        return `pending ${command.ids.filter((id) => this.org(command.orgId).pending.has(id)).join()}`;
      case 'transition':
        return this.transition(command);
      case 'load':
        return this.loadAll(command);
      case 'expect':
        return this.expect(command);
      default:
        return undefined;
    }
  }

  held(id: OrgId, token?: TokenId): number {
    let sum = 0;
    for (const hold of this.org(id).holds.values()) if (!token || hold.tokenId === token) sum += hold.amount;
    return sum;
  }

  pend(id: OrgId, token?: TokenId): number {
    let sum = 0;
    for (const one of this.org(id).pending.values()) if (!token || one.tokenId === token) sum += one.cost;
    return sum;
  }

  spendable(id: OrgId): number {
    const { balance, terms } = this.org(id);
    return (balance?.avail ?? 0) - this.held(id) - this.pend(id) + (terms?.overdraft ?? 0);
  }

  private hold(command: HoldCommand, nowMs: number): string {
    if (this.stateOf(command.orgId) !== 'open') return NOT_LOADED;
    const org = this.org(command.orgId);
    const known = org.holds.get(command.requestId);
    if (known) return `held ${known.amount} ${this.remaining(command.orgId, command.tokenId)} repeated`;
    if (org.pending.has(command.requestId)) return 'settled';
    const { terms } = this.token(command.tokenId);
    if (!terms) return 'unknown_token';
    if (terms.status !== 'active') return `token_${terms.status}`;
    if (org.terms?.status !== 'active') return 'org_suspended';
    if (terms.version !== command.tokenVersion || org.terms.version !== command.orgVersion) return 'stale';
    const open = [...org.holds.values()].filter((hold) => hold.tokenId === command.tokenId).length;
    if (terms.concurrency > 0 && open >= terms.concurrency) return 'rate_limited concurrency';
    const short = this.short(command.orgId, command.tokenId, command.amount);
    if (short) return short;
    const deadlineMs = nowMs + command.leaseMs / this.scale;
    org.holds.set(command.requestId, { tokenId: command.tokenId, amount: command.amount, floor: 0, deadlineMs });
    return `held ${command.amount} ${this.remaining(command.orgId, command.tokenId)}`;
  }

  /** The first cap without room, in the order in which they are reported. */
  private short(orgId: OrgId, tokenId: TokenId | undefined, amount: number): string | undefined {
    if (amount === 0) return undefined;
    const cap = this.caps(orgId, tokenId).find(({ rest }) => rest < amount);
    return cap && `short ${cap.scope} ${cap.rest}`;
  }

  private remaining(orgId: OrgId, tokenId: TokenId | undefined): number {
    return Math.max(0, Math.min(...this.caps(orgId, tokenId).map(({ rest }) => rest)));
  }

  private caps(orgId: OrgId, tokenId: TokenId | undefined): { scope: string; rest: number }[] {
    const { terms, balance } = this.org(orgId);
    const token = tokenId && this.token(tokenId);
    const used = (id: TokenId): number => this.token(id).used + this.held(orgId, id) + this.pend(orgId, id);
    const caps = (token?.terms?.quotas ?? []).map(({ cap }) => ({ scope: 'quota', rest: cap - (tokenId ? used(tokenId) : 0) }));
    const member = token?.terms?.member;
    if (member) caps.push({ scope: 'member', rest: member.tokens.reduce((rest, id) => rest - used(id), member.cap as number) });
    const spent = (balance?.monthSpent ?? 0) + this.held(orgId) + this.pend(orgId);
    if (terms && terms.limit !== null) caps.push({ scope: 'limit', rest: terms.limit - spent });
    caps.push({ scope: 'balance', rest: this.spendable(orgId) });
    return caps;
  }

  private extend(command: ExtendCommand, nowMs: number): string {
    const state = this.stateOf(command.orgId);
    if (state === 'absent') return NOT_LOADED;
    const org = this.org(command.orgId);
    const hold = org.holds.get(command.requestId);
    if (!hold) return 'gone';
    const more = Math.max(0, command.amount - hold.amount);
    const fits = more === 0 || (state === 'open' && !this.short(command.orgId, hold.tokenId, more));
    const amount = fits ? hold.amount + more : hold.amount;
    this.keep(org, command, { amount, hold, nowMs });
    return `${fits || state !== 'open' ? 'extended' : 'short'} ${amount}`;
  }

  /** It was not extended after all: what a member has left could not be known, so nothing more was set aside. */
  stayed({ orgId, requestId }: ExtendCommand, amount: number): void {
    const { holds } = this.org(orgId);
    const hold = holds.get(requestId);
    if (hold) holds.set(requestId, { ...hold, amount });
  }

  private keep(org: HotOrg, command: ExtendCommand, to: { amount: number; hold: HotHold | undefined; nowMs: number }): void {
    const floor = Math.max(to.hold?.floor ?? 0, command.floor);
    const deadlineMs = Math.max(to.hold?.deadlineMs ?? 0, to.nowMs + command.leaseMs / this.scale);
    org.holds.set(command.requestId, { tokenId: command.tokenId, amount: to.amount, floor, deadlineMs });
  }

  private settle(command: SettleCommand, nowMs: number): string {
    const state = this.stateOf(command.orgId);
    if (state === 'absent') return NOT_LOADED;
    const { requestId, orgId, tokenId, kind, cost } = command;
    const org = this.org(orgId);
    const hold = org.holds.get(requestId);
    if (command.ifDue && (!hold || hold.deadlineMs > nowMs)) return 'not_due';
    const before = org.pending.get(requestId);
    const wins = !before || (before.kind === 'floor' && (kind === 'final' || cost > before.cost));
    const grows = command.event !== null && wins;
    org.holds.delete(requestId);
    if (grows) org.pending.set(requestId, { tokenId, kind, cost });
    const repeated = !hold && !grows ? ' repeated' : '';
    return state === 'open' ? `settled ${this.remaining(orgId, tokenId)}${repeated}` : `settled${repeated}`;
  }

  private rehold(command: ExtendCommand, nowMs: number): string {
    if (this.stateOf(command.orgId) === 'absent') return NOT_LOADED;
    const org = this.org(command.orgId);
    if (org.pending.has(command.requestId)) return 'settled';
    const hold = org.holds.get(command.requestId);
    this.keep(org, command, { amount: Math.max(hold?.amount ?? 0, command.amount), hold, nowMs });
    return 'held';
  }

  private project(terms: { readonly org: OrgTerms } | { readonly token: TokenTerms }): string {
    const orgId = 'org' in terms ? terms.org.orgId : terms.token.orgId;
    if (this.stateOf(orgId) === 'absent') return NOT_LOADED;
    if ('org' in terms) return raise(this.org(orgId), terms.org) ? 'projected' : 'older';
    return raise(this.token(terms.token.tokenId), terms.token) ? 'projected' : 'older';
  }

  private applied({ orgId, balance, tokens, clear }: AppliedCommand): string {
    if (this.stateOf(orgId) !== 'open') return NOT_LOADED;
    const org = this.org(orgId);
    for (const use of tokens) this.use(use.tokenId, use.used[0]?.amount ?? 0, balance.balanceVersion);
    for (const done of clear) {
      const pending = org.pending.get(done.requestId);
      const newer = pending && done.kind === 'floor' && (pending.kind === 'final' || pending.cost > done.cost);
      if (pending && !newer) org.pending.delete(done.requestId);
    }
    if (!org.balance || balance.balanceVersion > org.balance.balanceVersion) org.balance = balance;
    return `applied ${this.remaining(orgId, undefined)}`;
  }

  private use(tokenId: TokenId, used: number, version: number): void {
    const token = this.token(tokenId);
    if (token.useVersion >= version) return;
    token.used = used;
    token.useVersion = version;
  }

  private due(shard: string, nowMs: number): string | undefined {
    if (this.shard(shard).state !== 'open') return undefined;
    const ids = orgsOf(shard).flatMap((org) => [...this.org(org).holds].filter(([, hold]) => hold.deadlineMs <= nowMs).map(([id]) => id));
    return `due ${ids.sort().join()}`;
  }

  private transition({ shard, from, to }: Extract<Call, { verb: 'transition' }>['command']): string {
    const one = this.shard(shard);
    const fits = one.state === from.state && one.whole === from.whole && lifeOf(one.epoch) === lifeOf(from.epoch);
    const isLoading = one.state === 'filling' || (to === 'open' && one.state === 'open' && !one.whole);
    if (!fits || (to !== 'filling' && !isLoading)) return 'lost';
    one.state = to === 'filling' ? to : 'open';
    one.whole = to === 'open';
    if (to !== 'serving') one.expected = undefined;
    if (to !== 'filling') return 'moved';
    for (const orgId of orgsOf(shard)) {
      this.org(orgId).loaded = false;
      for (const token of tokensOf(orgId)) this.token(token).useVersion = -1;
    }
    return 'moved';
  }

  private expect({ shard, accounts }: Extract<Call, { verb: 'expect' }>['command']): string {
    const one = this.shard(shard);
    if (one.state !== 'filling') return NOT_LOADED;
    one.expected ??= new Set();
    for (const { orgId } of accounts) one.expected.add(orgId);
    return 'expected';
  }

  private loadAll({ shard, orgs, epoch }: Extract<Call, { verb: 'load' }>['command']): string {
    const one = this.shard(shard);
    const isLoading = one.state === 'filling' || (one.state === 'open' && !one.whole);
    if (!isLoading || (epoch !== undefined && lifeOf(epoch) !== lifeOf(one.epoch))) return NOT_LOADED;
    for (const org of orgs) {
      const { orgId } = org.terms;
      if (this.stateOf(orgId) === 'filling' || !this.org(orgId).balance) this.load(org);
      one.expected?.delete(org.terms.orgId);
    }
    return 'loaded';
  }

  /** Set, never added; and of two reloads in one life the later news of Postgres stays. */
  private load({ terms, balance, tokens }: OrgSnapshot): void {
    const org = this.org(terms.orgId);
    raise(org, terms);
    if (!org.loaded || (org.balance?.balanceVersion ?? -1) < balance.balanceVersion) org.balance = balance;
    org.loaded = true;
    for (const one of tokens) {
      raise(this.token(one.terms.tokenId), one.terms);
      this.use(one.terms.tokenId, one.use.used[0]?.amount ?? 0, balance.balanceVersion);
    }
  }
}

export const NOT_LOADED = 'unavailable not_loaded';

function raise<T extends { readonly version: number }>(place: { terms: T | undefined }, terms: T): boolean {
  if (place.terms && place.terms.version >= terms.version) return false;
  place.terms = terms;
  return true;
}

function emptyState(): HotState {
  return {
    shards: new Map(SHARDS.map((shard) => [shard, { state: 'absent', whole: false, expected: undefined, epoch: '' }])),
    orgs: new Map(ORGS.map((org) => [org, { terms: undefined, balance: undefined, loaded: false, holds: new Map(), pending: new Map() }])),
    tokens: new Map(TOKENS.map((token) => [token, { terms: undefined, used: 0, useVersion: ownerOf(token) ? -1 : 0 }])),
  };
}
