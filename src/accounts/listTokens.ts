import type { OrgId } from '../domain/ids.js';
import { type AccountsContext, type Page, pageOf } from './context.js';
import { TOKEN_VIEW, type Token } from './token.js';

/** Newest first, revoked ones included. `after` is the place of the last row of the page before. */
export async function listTokens(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: OrgId;
  /** Only those of this person; null = all. */
  ownerId: string | null;
  status: Token['status'] | null;
  after: { readonly createdAt: string; readonly tokenId: string } | null;
  limit: number;
}): Promise<Page<Token>> {
  const { db } = what.ctx;
  const { after, limit } = what;
  const rows = await db.query<{ token: Token }>(
    `
    select ${TOKEN_VIEW} as token from tokens t
    where org_id = $1 and ($2::text is null or status = $2::text)
      and ($3::text is null
        or (created_at, token_id) < ($4::text::timestamptz, $3::text))
          and ($6::text is null or owner_id = $6::text)
    order by created_at desc, token_id desc limit $5::int`,
    [what.orgId, what.status, after?.tokenId ?? null, after?.createdAt ?? null, limit + 1, what.ownerId],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ token }) => token),
    limit,
  );
}
