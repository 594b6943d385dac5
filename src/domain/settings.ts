import type { CreditValue } from './credits.js';

/** What the operator's YAML and environment say, once validated and frozen. Root files hand the parts to the folders. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly roles: readonly Role[];
  readonly databaseUrl: string | null;
  /** One server (`redis://…`) or the seeds of a cluster (`redis-cluster://h1:p,h2:p`). */
  readonly redisUrl: string | null;
  readonly logLevel: string;
  /** Where people reach this server from outside; null = derived from the request. */
  readonly publicUrl: string | null;
  /** Ranges of the proxies in front of us, whose X-Forwarded-For says who asks; none = nobody's does. */
  readonly trustedProxies: readonly string[];
  /** From where the operator key of the data folder may be used; null = from anywhere. */
  readonly operatorKeyIps: readonly string[] | null;
  /** Number of gateway processes when Redis is used; 0 = one per core. */
  readonly gatewayProcesses: number;
  readonly credits: CreditSettings;
  readonly gateway: GatewaySettings;
  readonly upstreams: readonly UpstreamSettings[];
  readonly trialCredits: number;
  readonly signUp: SignUpSettings;
  readonly mail: MailSettings | null;
  readonly providers: readonly ProviderSettings[];
  readonly logs: LogSettings;
  readonly compat: CompatSettings;
  readonly pricing: PricingSettings;
}

export interface LogSettings {
  /** Single requests of months that ended longer ago are let go; null = never. */
  readonly retentionDays: number | null;
}

export interface PricingSettings {
  /** Whether anybody may read the price list, without an organization's own prices. */
  readonly public: boolean;
}

export interface CompatSettings {
  /** What a token learns where clients of other services ask for credits and usage: of itself, or of its organization. */
  readonly creditsScope: 'token' | 'org';
}

export interface SignUpSettings {
  /** Whether anybody may make an account. `auto`: as long as only this machine can reach the server. */
  readonly enabled: boolean | 'auto';
  /** Whole credits a new person starts with, and after how many days they end. */
  readonly trialCredits: number;
  readonly trialDays: number;
  /** null: addresses of every domain. */
  readonly allowedDomains: readonly string[] | null;
}

export interface MailSettings {
  readonly from: string;
  /** With user and password in it: never shown. */
  readonly smtpUrl: string;
}

/** Another house that says who somebody is, by OpenID Connect discovery or by its three addresses. */
export interface ProviderSettings {
  readonly id: string;
  readonly label: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly issuer: string | null;
  readonly authorizeUrl: string | null;
  readonly tokenUrl: string | null;
  readonly userInfoUrl: string | null;
  readonly scopes: readonly string[];
  /** It does not say whether it checked an address, but it did. */
  readonly trustEmail: boolean;
}

export type Role = 'gateway' | 'api' | 'worker';

export interface CreditSettings {
  readonly name: string;
  /** null: the operator does not publish what a credit is worth. */
  readonly value: CreditValue | null;
}

export interface GatewaySettings {
  readonly admission: 'normal' | 'strict';
  readonly onExhaustion: 'finish' | 'cut';
  /** 402 by default; 429 for clients that key on it. Always with `x-should-retry: false`. */
  readonly insufficientQuotaStatus: 402 | 429;
  readonly bodyBytesMax: number;
  readonly bodyDepthMax: number;
  readonly headerBytesMax: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly connectionsMax: number;
  /** Connections of one process from one address; 0 = no cap. */
  readonly connectionsPerAddressMax: number;
  /** Requests in progress in one process; the next one is told 503 at once. */
  readonly requestsMax: number;
  /** Whoever would have to wait longer for its turn is told 503 at once. */
  readonly waitMaxMs: number;
  /** JSON answers up to this size are held back so that `x-credits-charged` can precede them. */
  readonly bufferedResponseBytesMax: number;
  /** A client that takes nothing for this long is treated as gone. */
  readonly writeStallMs: number;
  /** How long plain calls may run on after their client left. */
  readonly backgroundFinishMs: number;
  readonly backgroundFinishMax: number;
  readonly drainMs: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  /** Bytes of streamed output kept for counting when the upstream reports no usage. */
  readonly retainedOutputBytesMax: number;
  /** How often the journal is forced to the disk; 0 = when the operating system likes. */
  readonly journalSyncMs: number;
  /** Beyond this much that Postgres does not have yet, nothing new is admitted. */
  readonly journalBytesMax: number;
}

export interface UpstreamSettings {
  readonly name: string;
  readonly baseUrl: string;
  readonly apiKey: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** Patterns this upstream serves, and the name it knows the model by (null: the name the client used). */
  readonly models: readonly { readonly pattern: string; readonly as: string | null }[];
  /** Lower comes first; equal ones keep the order of the file. */
  readonly priority: number;
  readonly timeouts: { readonly connectMs: number; readonly firstByteMs: number; readonly idleMs: number; readonly totalMs: number };
  /** Further attempts on this upstream, before the first byte only. */
  readonly retries: number;
  /** Requests at once; 0 = no cap. */
  readonly concurrency: number;
  /** Understands `stream_options.include_usage`. */
  readonly includeUsage: boolean;
  /** The built-in demo model, answered in this process. */
  readonly builtin: boolean;
}
