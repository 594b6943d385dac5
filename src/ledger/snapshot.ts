import type { Balance, ExpectedOrg, OrgSnapshot, OrgTerms, QuotaWindow, TokenTerms } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { type MicroCredits, microCredits } from '../domain/credits.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { type TokenUseRow, tokenUse } from './tokenUse.js';

/** Organizations of one shard after `after` ('' = from the start), in id order, as the hot store must know them. */
export async function readSnapshots(db: Database, shard: string, after: string, limit: number): Promise<readonly OrgSnapshot[]> {
  const from = after === '' ? `org_${shard}` : after;
  const rows = await db.query<OrgRow>(
    // Said of both: from an equality nothing follows for a range, and every balance there is would be read for each page.
    `${ORGS} where o.org_id > $1 and o.org_id < $2 and b.org_id > $1 and b.org_id < $2 order by o.org_id limit $3`,
    [from, `org_${shard}~`, limit],
    READ,
  );
  return withTokens(db, rows);
}

/** These organizations, as many of them as there are. */
export async function readSnapshotsOf(db: Database, orgIds: readonly OrgId[]): Promise<readonly OrgSnapshot[]> {
  return withTokens(db, await db.query<OrgRow>(`${ORGS} where o.org_id = any ($1::text[])`, [orgIds], READ));
}

/** The names of all organizations of one shard after `after`, in id order, each with those of its tokens. */
export async function readNames(db: Database, shard: string, after: string, limit: number): Promise<readonly ExpectedOrg[]> {
  // One text of many lines: there are as many rows as there are customers, and to read a row costs more than to cut a line.
  const row = await db.one<{ names: string | null }>(
    `select string_agg(names, E'\\n' order by org_id) as names from (
       select o.org_id, concat_ws(' ', o.org_id, string_agg(t.token_id, ' ')) as names
       from (select org_id from organizations where org_id > $1 and org_id < $2 order by org_id limit $3) o
       left join tokens t on t.org_id = o.org_id and t.org_id > $1 and t.org_id < $2 group by o.org_id) named`,
    [after === '' ? `org_${shard}` : after, `org_${shard}~`, limit],
    READ,
  );
  const lines = row?.names?.split('\n') ?? [];
  return lines.map((line) => {
    const [orgId, ...tokenIds] = line.split(' ');
    return { orgId: orgId as OrgId, tokenIds: tokenIds as TokenId[] };
  });
}

/** Terms and balance without the tokens: what a change of the organization itself needs. */
export async function readOrg(db: Database, orgId: OrgId): Promise<Omit<OrgSnapshot, 'tokens'> | undefined> {
  const row = await db.one<OrgRow>(`${ORGS} where o.org_id = $1`, [orgId], READ);
  return row && orgOf(row);
}

/** Of which the version of a token's terms is the sum: its own, and those of its member's quota. */
export interface ToldVersions {
  readonly own: number;
  readonly member: number;
}

/** A token together with its organization's balance, read at one moment: the balance's version dates the use. */
export async function readToken(
  db: Database,
  tokenId: TokenId,
): Promise<(OrgSnapshot['tokens'][number] & Pick<OrgSnapshot, 'balance'> & { readonly told: ToldVersions }) | undefined> {
  const row = await db.one<TokenRow & BalanceRow>(
    `select x.*, b.avail, b.version, b.month_spent, ends_ms(b.month_ends_at) as month_ends_ms
     from (${TOKENS} where t.token_id = $1) x join org_balances b on b.org_id = x.org_id`,
    [tokenId],
    READ,
  );
  return row && { ...tokenOf(row), balance: balanceOf(row), told: { own: row.terms_version, member: row.member_version } };
}

const READ = { idempotent: true, timeoutMs: 30_000 };

const ORGS = `
  select o.org_id, o.terms_version, o.status, o.overdraft, o.monthly_limit, o.limit_action, o.critical_ceiling,
    o.price_group, o.prices, b.avail, b.version, b.month_spent, ends_ms(b.month_ends_at) as month_ends_ms
  from organizations o join org_balances b on b.org_id = o.org_id`;

const TOKENS = `
  select t.token_id, t.org_id, t.terms_version, t.digest, t.grace_digest, ends_ms(t.grace_ends_at) as grace_ends_ms, t.status,
    coalesce(ends_ms(t.expires_at), 0) as expires_ms, t.quota_total, t.quota_daily, t.quota_weekly, t.quota_monthly,
    t.requests_per_minute, t.tokens_per_minute, t.concurrency, t.critical, t.models, t.ips, t.agent, token_use_json(u) as use,
    coalesce(k.version, 0) as member_version, k.person_id as member_id, k.cap as member_cap, k.tokens as member_tokens
  from tokens t join token_use u on u.token_id = t.token_id left join member_terms k on k.token_id = t.token_id`;

async function withTokens(db: Database, rows: readonly OrgRow[]): Promise<OrgSnapshot[]> {
  if (rows.length === 0) return [];
  const tokens = await db.query<TokenRow>(`${TOKENS} where t.org_id = any ($1::text[])`, [rows.map((row) => row.org_id)], READ);
  const ofOrg = new Map<OrgId, TokenRow[]>();
  for (const token of tokens) ofOrg.set(token.org_id, [...(ofOrg.get(token.org_id) ?? []), token]);
  return rows.map((row) => ({ ...orgOf(row), tokens: (ofOrg.get(row.org_id) ?? []).map(tokenOf) }));
}

function orgOf(row: OrgRow): Omit<OrgSnapshot, 'tokens'> {
  const terms: OrgTerms = {
    orgId: row.org_id,
    version: row.terms_version,
    status: row.status,
    overdraft: microCredits(row.overdraft),
    limit: amount(row.monthly_limit),
    limitAction: row.limit_action,
    criticalCeiling: amount(row.critical_ceiling),
    group: row.price_group,
    prices: row.prices,
  };
  return { terms, balance: balanceOf(row) };
}

const balanceOf = (row: BalanceRow): Balance => ({
  avail: microCredits(row.avail),
  balanceVersion: row.version,
  monthSpent: microCredits(row.month_spent),
  monthEndsAtMs: row.month_ends_ms,
});

function tokenOf(row: TokenRow): OrgSnapshot['tokens'][number] {
  const caps: readonly (readonly [QuotaWindow, number | null])[] = [
    ['total', row.quota_total],
    ['daily', row.quota_daily],
    ['weekly', row.quota_weekly],
    ['monthly', row.quota_monthly],
  ];
  const terms: TokenTerms = {
    tokenId: row.token_id,
    orgId: row.org_id,
    version: row.terms_version + row.member_version,
    digest: row.digest,
    grace: row.grace_digest === null ? null : { digest: row.grace_digest, endsAtMs: row.grace_ends_ms ?? 1 },
    status: row.status,
    expiresAtMs: row.expires_ms,
    quotas: caps.flatMap(([window, cap]) => (cap === null ? [] : [{ window, cap: microCredits(cap) }])),
    member: memberOf(row),
    requestsPerMinute: row.requests_per_minute,
    tokensPerMinute: row.tokens_per_minute,
    concurrency: row.concurrency,
    critical: row.critical,
    models: row.models,
    ips: row.ips,
    agent: row.agent,
  };
  return { terms, use: tokenUse(row.use) };
}

function memberOf({ member_id: id, member_cap: cap, member_tokens: tokens }: TokenRow): TokenTerms['member'] {
  return id === null || cap === null || tokens === null ? null : { id, cap: microCredits(cap), tokens };
}

const amount = (value: number | null): MicroCredits | null => (value === null ? null : microCredits(value));

interface BalanceRow {
  readonly avail: number;
  readonly version: number;
  readonly month_spent: number;
  readonly month_ends_ms: number;
}

interface OrgRow extends BalanceRow {
  readonly org_id: OrgId;
  readonly terms_version: number;
  readonly status: OrgTerms['status'];
  readonly overdraft: number;
  readonly monthly_limit: number | null;
  readonly limit_action: OrgTerms['limitAction'];
  readonly critical_ceiling: number | null;
  readonly price_group: string;
  readonly prices: Readonly<Record<string, unknown>> | null;
}

interface TokenRow {
  readonly token_id: TokenId;
  readonly org_id: OrgId;
  readonly terms_version: number;
  readonly digest: string;
  readonly grace_digest: string | null;
  readonly grace_ends_ms: number | null;
  readonly status: TokenTerms['status'];
  readonly expires_ms: number;
  readonly quota_total: number | null;
  readonly quota_daily: number | null;
  readonly quota_weekly: number | null;
  readonly quota_monthly: number | null;
  readonly requests_per_minute: number;
  readonly tokens_per_minute: number;
  readonly concurrency: number;
  readonly critical: boolean;
  readonly models: readonly string[] | null;
  readonly ips: readonly string[] | null;
  readonly agent: string | null;
  readonly use: TokenUseRow;
  readonly member_version: number;
  readonly member_id: string | null;
  readonly member_cap: number | null;
  readonly member_tokens: readonly TokenId[] | null;
}
