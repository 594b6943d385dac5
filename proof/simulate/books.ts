import type { Balance, OrgSnapshot, OrgTerms, StreamEntry, TokenTerms, TokenUse } from '../../src/credits/store.js';
import type { OrgId, RequestId, TokenId } from '../../src/domain/ids.js';
import { firstTerms, firstTokenTerms, micro, ORGS, ownerOf, TOKENS, tokensOf } from './cast.js';
import { Violation } from './violation.js';

/** Postgres as a pure model: grants burnt oldest first, one row per request, a version for each balance. */
export interface Wallet {
  terms: OrgTerms;
  readonly grants: { readonly amount: number; left: number }[];
  /** 0 or negative. */
  debt: number;
  granted: number;
  voided: number;
  /** Each void with the balance version it made: the store cannot know of it before it is told that version. */
  readonly voids: { readonly version: number; readonly amount: number }[];
  charged: number;
  version: number;
  /** The balance version the store has not been told of yet, as the repair sees it. */
  untold: number | null;
  toldTerms: number;
}

interface TokenRow {
  terms: TokenTerms;
  used: number;
  toldTerms: number;
}

export interface Row {
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly kind: 'floor' | 'final';
  readonly cost: number;
}

export interface Posted {
  readonly orgId: OrgId;
  readonly balance: Balance;
  readonly tokens: readonly TokenUse[];
}

export class Books {
  away = false;
  readonly rows = new Map<RequestId, Row>();
  readonly wallets = new Map<OrgId, Wallet>();
  readonly tokens = new Map<TokenId, TokenRow>();
  /** How far each stream has been drained, and in which life of the data. */
  readonly cursors = new Map<string, { readonly epoch: string; readonly cursor: string }>();

  constructor(opening: number) {
    for (const org of ORGS) {
      const grants = [{ amount: opening, left: opening }];
      const sums = { debt: 0, granted: opening, voided: 0, charged: 0, version: 1, voids: [] };
      this.wallets.set(org, { terms: firstTerms(org), grants, ...sums, untold: null, toldTerms: 0 });
    }
    for (const token of TOKENS) this.tokens.set(token, { terms: firstTokenTerms(token), used: 0, toldTerms: 0 });
  }

  /** One statement: all of it or nothing. */
  post(entries: readonly StreamEntry[]): readonly Posted[] {
    const touched = new Map<OrgId, Set<TokenId>>();
    for (const entry of entries) {
      const event = JSON.parse(entry.event) as { request_id: RequestId; org_id: OrgId; token_id: TokenId; kind: Row['kind']; cost: number };
      const { request_id: id, org_id: orgId, token_id: tokenId, kind, cost } = event;
      if (id !== entry.requestId || kind !== entry.kind || cost !== entry.cost || orgId !== entry.orgId) {
        throw new Violation('answers follow the contract', `the stream says ${entry.kind} ${entry.cost}, its event says ${kind} ${cost}`);
      }
      this.book(id, { orgId, tokenId, kind, cost });
      touched.set(orgId, (touched.get(orgId) ?? new Set()).add(tokenId));
    }
    return [...touched].map(([orgId, tokens]) => {
      this.wallet(orgId).version += 1;
      return { orgId, balance: this.balance(orgId), tokens: [...tokens].map((token) => this.use(token)) };
    });
  }

  /** Nothing < floor (the larger wins) < final: the difference is taken, or given back. */
  private book(id: RequestId, next: Row): void {
    const before = this.rows.get(id);
    if (before && (before.kind === 'final' || (next.kind === 'floor' && next.cost <= before.cost))) return;
    this.rows.set(id, next);
    const delta = next.cost - (before?.cost ?? 0);
    const wallet = this.wallet(next.orgId);
    wallet.charged += delta;
    this.token(next.tokenId).used += delta;
    if (delta > 0) take(wallet, delta);
    else give(wallet, -delta);
  }

  grant(orgId: OrgId, amount: number): void {
    const wallet = this.wallet(orgId);
    const pays = Math.min(amount, -wallet.debt);
    wallet.grants.push({ amount, left: amount - pays });
    wallet.debt += pays;
    wallet.granted += amount;
    this.changed(wallet);
  }

  /** Takes credits back; more than there are becomes debt. */
  void(orgId: OrgId, amount: number): void {
    const wallet = this.wallet(orgId);
    take(wallet, amount);
    wallet.voided += amount;
    this.changed(wallet);
    wallet.voids.push({ version: wallet.version, amount });
  }

  private changed(wallet: Wallet): void {
    wallet.version += 1;
    wallet.untold = wallet.version;
  }

  changeOrg(orgId: OrgId, change: Partial<OrgTerms>): void {
    const wallet = this.wallet(orgId);
    wallet.terms = { ...wallet.terms, ...change, version: wallet.terms.version + 1 };
  }

  changeToken(tokenId: TokenId, change: Partial<TokenTerms>): void {
    const row = this.token(tokenId);
    row.terms = { ...row.terms, ...change, version: row.terms.version + 1 };
  }

  snapshot(orgId: OrgId): OrgSnapshot {
    const tokens = tokensOf(orgId).map((token) => ({ terms: this.token(token).terms, use: this.use(token) }));
    return { terms: this.wallet(orgId).terms, balance: this.balance(orgId), tokens };
  }

  avail(orgId: OrgId): number {
    const { grants, debt } = this.wallet(orgId);
    return grants.reduce((sum, { left }) => sum + left, debt);
  }

  balance(orgId: OrgId): Balance {
    const { version, charged } = this.wallet(orgId);
    return { avail: micro(this.avail(orgId)), balanceVersion: version, monthSpent: micro(charged), monthEndsAtMs: 0 };
  }

  use(tokenId: TokenId): TokenUse {
    const amount = micro(this.token(tokenId).used);
    return { tokenId, used: (['total', 'monthly'] as const).map((window) => ({ window, amount, endsAtMs: 0 })) };
  }

  wallet(orgId: OrgId): Wallet {
    const wallet = this.wallets.get(orgId);
    if (!wallet) throw new Error(`no wallet of ${orgId}`);
    return wallet;
  }

  token(tokenId: TokenId): TokenRow {
    const row = this.tokens.get(tokenId);
    if (!row) throw new Error(`no token ${tokenId} of ${ownerOf(tokenId)}`);
    return row;
  }
}

function take(wallet: Wallet, amount: number): void {
  let rest = amount;
  for (const grant of wallet.grants) {
    const part = Math.min(grant.left, rest);
    grant.left -= part;
    rest -= part;
    if (rest === 0) return;
  }
  wallet.debt -= rest;
}

/** Debt first, then the grants in the reverse of how they were burnt. */
function give(wallet: Wallet, amount: number): void {
  const pays = Math.min(amount, -wallet.debt);
  wallet.debt += pays;
  let rest = amount - pays;
  for (let at = wallet.grants.length - 1; at >= 0 && rest > 0; at--) {
    const grant = wallet.grants[at];
    if (!grant) continue;
    const part = Math.min(grant.amount - grant.left, rest);
    grant.left += part;
    rest -= part;
  }
}
