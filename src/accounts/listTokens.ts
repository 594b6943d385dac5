import { tokenState } from '../db/tokenState.js';
import type { OrgId } from '../domain/ids.js';
import type { TokenState } from '../domain/tokenState.js';
import { type AccountsContext, type Page, pageOf } from './context.js';
import { TOKEN_VIEW, type Token } from './token.js';

/** Null leaves a dimension open. */
export interface TokenFilter {
  readonly state: TokenState | null;
  /** An id, the last four of a secret, or a part of the name. */
  readonly q: string | null;
  readonly project: string | null;
  /** A person; `none`: the organization's own. */
  readonly owner: string | null;
  readonly critical: boolean | null;
}

/** Newest first, revoked ones included. `after` is the place of the last row of the page before. */
export async function listTokens(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: OrgId;
  /** Only those of this person; null = all. */
  ownerId: string | null;
  filter: TokenFilter;
  after: { readonly createdAt: string; readonly tokenId: string } | null;
  limit: number;
}): Promise<Page<Token>> {
  const { db } = what.ctx;
  const { after, limit, filter } = what;
  const rows = await db.query<{ token: Token }>(
    `
    select ${TOKEN_VIEW} as token from tokens t join token_use u on u.token_id = t.token_id
    where t.org_id = $1 and ($2::text is null or ${tokenState('now()')} = $2::text)
      and ($3::text is null or (t.created_at, t.token_id) < ($4::text::timestamptz, $3::text))
      and ($6::text is null or t.owner_id = $6::text)
      and ($7::text is null or t.token_id = $7::text or t.last_four = $7::text or position(lower($7::text) in lower(t.name)) > 0)
      and ($8::text is null or t.project = $8::text)
      and ($9::text is null or coalesce(t.owner_id, 'none') = $9::text)
      and ($10::boolean is null or t.critical = $10::boolean)
    order by t.created_at desc, t.token_id desc limit $5::int`,
    [
      ...[what.orgId, filter.state, after?.tokenId ?? null, after?.createdAt ?? null, limit + 1, what.ownerId],
      ...[filter.q, filter.project, filter.owner, filter.critical],
    ],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ token }) => token),
    limit,
  );
}
