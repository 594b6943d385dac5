import type { CreditStore, Unavailable } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { readOrg, readToken } from './snapshot.js';
import { rollMonths, rollWindows } from './windows.js';

/** `unknown`: there is no such row. When the store is away the worker repairs it later; callers need not wait for that. */
export type Projected = { readonly kind: 'projected' } | { readonly kind: 'unknown' } | Unavailable;

const DONE: Projected = { kind: 'projected' };

/**
 * Tells the hot store what an organization may do and what it has. Called by whoever changed it, after writing and
 * before answering.
 */
export async function projectOrg(db: Database, store: CreditStore, orgId: OrgId): Promise<Projected> {
  await rollMonths(db, { orgId });
  const org = await readOrg(db, orgId);
  if (!org) return { kind: 'unknown' };
  const told = await store.project({ org: org.terms });
  if (told.kind === 'unavailable') return told;
  const applied = await store.applied({ orgId, balance: org.balance, tokens: [], clear: [] });
  if (applied.kind === 'unavailable') return applied;
  await db.query(
    `with told as (update org_balances set untold_version = null where org_id = $1 and untold_version <= $3)
     update organizations set projected_version = $2 where org_id = $1 and projected_version < $2`,
    [orgId, org.terms.version, org.balance.balanceVersion],
    { idempotent: true },
  );
  return DONE;
}

/**
 * Tells the hot store what a token may do. A token it does not know cannot spend, so this comes before showing a secret. The
 * other tokens of its member are told with it: where there is a quota, each of them names all that share it.
 */
export async function projectToken(db: Database, store: CreditStore, tokenId: TokenId): Promise<Projected> {
  const others = await sharing(db, '(select org_id from tokens where token_id = $1)', tokenId);
  const told = await tellToken(db, store, tokenId);
  return told.kind === 'projected' ? tellTokens(db, store, others, tokenId) : told;
}

/** Tells the hot store what changed about the quotas of an organization's members, and whose its tokens are. */
export async function projectMembers(db: Database, store: CreditStore, orgId: OrgId): Promise<Projected> {
  return tellTokens(db, store, await sharing(db, '$1', orgId));
}

const sharing = (db: Database, org: string, id: string): Promise<readonly { readonly id: TokenId }[]> =>
  db.query<{ id: TokenId }>(`select id from share_member_quotas(${org}) id`, [id], { idempotent: true });

/** One after the other: whoever is named by others stands before them. */
async function tellTokens(
  db: Database,
  store: CreditStore,
  tokens: readonly { readonly id: TokenId }[],
  but?: TokenId,
): Promise<Projected> {
  for (const { id } of tokens) {
    if (id === but) continue;
    const told = await tellToken(db, store, id);
    if (told.kind === 'unavailable') return told;
  }
  return DONE;
}

async function tellToken(db: Database, store: CreditStore, tokenId: TokenId): Promise<Projected> {
  await rollWindows(db, { tokenId });
  const token = await readToken(db, tokenId);
  if (!token) return { kind: 'unknown' };
  const told = await store.project({ token: token.terms });
  if (told.kind === 'unavailable') return told;
  const { orgId } = token.terms;
  const applied = await store.applied({ orgId, balance: token.balance, tokens: [token.use], clear: [] });
  if (applied.kind === 'unavailable') return applied;
  await db.query(
    `with told as (update member_terms set told_version = $3 where token_id = $1 and told_version < $3)
     update tokens set projected_version = $2 where token_id = $1 and projected_version < $2`,
    [tokenId, token.told.own, token.told.member],
    { idempotent: true },
  );
  return DONE;
}

/** Repairs what a crash between writing and projecting left behind, organizations first. Answers how many were told. */
export async function repairProjections(db: Database, store: CreditStore, limit = 500): Promise<number> {
  const orgs = await db.query<{ id: OrgId }>(
    `(select org_id as id from organizations where projected_version < terms_version order by org_id limit $1)
     union (select org_id from org_balances where untold_version is not null order by org_id limit $1)`,
    [limit],
    { idempotent: true },
  );
  const shares = await db.query<{ id: OrgId }>(
    `(select org_id as id from quota_shares where shared_version < version order by org_id limit $1)
     union (select org_id from member_terms where told_version < version order by org_id limit $1)`,
    [limit],
    { idempotent: true },
  );
  const tokens = await db.query<{ id: TokenId }>(
    'select token_id as id from tokens where projected_version < terms_version order by token_id limit $1',
    [limit],
    { idempotent: true },
  );
  let told = 0;
  for (const { id } of orgs) if ((await projectOrg(db, store, id)).kind === 'projected') told += 1;
  for (const { id } of shares) if ((await projectMembers(db, store, id)).kind === 'projected') told += 1;
  for (const { id } of tokens) if ((await projectToken(db, store, id)).kind === 'projected') told += 1;
  return told;
}
