import type { AccountsContext } from '../accounts/context.js';
import type { People } from '../accounts/people/people.js';
import type { Sessions } from '../accounts/people/session.js';
import type { AmountOut, MicroCredits } from '../domain/credits.js';
import { amountOut } from '../domain/credits.js';
import type { OrgId } from '../domain/ids.js';
import type { PriceSource } from '../domain/prices.js';
import type { CompatSettings, CreditSettings, PricingSettings } from '../domain/settings.js';
import type { Deducted } from '../ledger/deduct.js';
import type { MeterCharge, Metered } from '../ledger/meter.js';
import type { OrgReconciliation } from '../ledger/reconcileOrg.js';
import type { Resolved } from '../ledger/setAside.js';
import type { PriceBook } from '../pricing/book.js';
import type { TokenCounter } from '../pricing/tokens.js';
import type { Log } from '../telemetry/log.js';
import type { LiveHub } from './live.js';
import type { ServerPort } from './server.js';

/** Everything the management API is wired to. It owns no state of its own. */
export interface ApiDeps {
  readonly db: AccountsContext['db'];
  readonly project: AccountsContext['project'];
  readonly clock: AccountsContext['clock'];
  readonly pepper: string;
  readonly operatorKey: string;
  /** From where that key may be used; null = from anywhere. */
  readonly operatorKeyIps: readonly string[] | null;
  /** Where browsers find this server, when that is configured. */
  readonly publicUrl: string | null;
  /** Ranges of the proxies whose X-Forwarded-For counts. */
  readonly trustedProxies: readonly string[];
  /** Whose session cookie it is. */
  readonly sessions: Sessions;
  readonly people: People;
  readonly credits: CreditSettings;
  readonly compat: CompatSettings;
  readonly pricing: PricingSettings;
  readonly ledger: LedgerPort;
  readonly prices: () => PriceBook;
  readonly server: ServerPort;
  /** Reads the prices of a configuration that is not in force; `prices` is null when there are mistakes. */
  readonly readDraft: (yaml: string) => { readonly prices: PriceSource | null; readonly findings: readonly DraftFinding[] };
  /** The tokenizer that bills, in a thread of its own. */
  readonly counter: TokenCounter;
  readonly live: LiveHub;
  readonly log: Log;
}

/** Something to say about a draft, with its place in the text. */
export interface DraftFinding {
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
  readonly severity: 'error' | 'warning';
}

/** What the ledger does for the API, and how the API asks for it. */
export interface LedgerPort {
  grant(command: GrantCommand): Promise<Granted | { readonly kind: 'unknown_org' }>;
  /** Takes credits back, never more than is free. */
  deduct(command: DeductCommand): Promise<Deducted>;
  /** Charges that were set aside: booked after all, or given up. */
  bookAside(command: { readonly id: number; readonly actor: string }): Promise<Resolved>;
  dropAside(command: { readonly id: number; readonly actor: string; readonly reason: string }): Promise<Resolved>;
  wallet(orgId: OrgId): Promise<Wallet | undefined>;
  reconcile(): Promise<Reconciliation>;
  /** The same for one organization, with every figure it compared; undefined when there is no such organization. */
  reconcileOrg(orgId: OrgId): Promise<OrgReconciliation | undefined>;
  /** Charges events that happened outside `/v1`, all or none. */
  meter(batch: { readonly orgId: OrgId; readonly events: readonly MeterCharge[]; readonly nowMs: number }): Promise<Metered>;
}

export const GRANT_KINDS = ['manual', 'goodwill', 'trial'] as const;
export type GrantKind = (typeof GRANT_KINDS)[number];

export const GRANT_CATEGORIES = ['paid', 'promo'] as const;
export type GrantCategory = (typeof GRANT_CATEGORIES)[number];

/** What an operator adds by hand was sold outside, unless they say otherwise; gifts and trials never were. */
export const categoryOf = (kind: GrantKind): GrantCategory => (kind === 'manual' ? 'paid' : 'promo');

export interface GrantCommand {
  readonly orgId: OrgId;
  readonly amount: MicroCredits;
  readonly kind: GrantKind;
  readonly category: GrantCategory;
  readonly reason: string;
  readonly expiresAt: Date | null;
  /** Repeating it grants nothing twice. */
  readonly key: string;
  /** For the audit log. */
  readonly actor: string;
}

export interface DeductCommand {
  readonly orgId: OrgId;
  readonly amount: MicroCredits;
  readonly grantId: number | null;
  readonly reason: string;
  /** Repeating it takes nothing twice. */
  readonly key: string;
  readonly actor: string;
}

export interface Granted {
  readonly kind: 'granted';
  readonly grantId: string;
  readonly available: MicroCredits;
  /** False: booked, but the hot store has not heard of it yet. */
  readonly inForce: boolean;
  readonly repeated: boolean;
}

/** A wallet as the books and, when it answers, the hot store know it. Micro-credits throughout. */
export interface Wallet {
  /** Live grants plus debt, as booked. */
  readonly booked: number;
  /** Zero or less. */
  readonly debt: number;
  readonly overdraft: number;
  readonly monthSpent: number;
  readonly monthLimit: number | null;
  readonly monthEndsAt: Date | null;
  /** Raised by every change; a reader drops what is older than what it has. */
  readonly version: number;
  /** null: the hot store does not answer. */
  readonly hot: { readonly held: number; readonly pending: number } | null;
  readonly grants: readonly WalletGrant[];
}

export interface WalletGrant {
  readonly id: string;
  readonly kind: string;
  readonly category: string;
  readonly priority: number;
  readonly amount: number;
  readonly remaining: number;
  readonly expiresAt: Date | null;
  readonly createdAt: Date;
  readonly reason: string | null;
}

export interface Reconciliation {
  readonly clean: boolean;
  readonly checked: Readonly<Record<string, number>>;
  readonly findings: readonly unknown[];
}

/** An amount as this installation shows it. */
export const shown = (deps: Pick<ApiDeps, 'credits'>, micro: number): AmountOut => amountOut(micro, deps.credits.value);
