import type { OrgId, TokenId } from '../domain/ids.js';
import type { AccountsContext } from './context.js';
import { TOKEN_VIEW, type Token } from './token.js';

/** A token of this organization; a foreign one looks as if it were not there. */
export async function readToken(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: OrgId;
  tokenId: TokenId;
  /** Only if it is this person's; null = whosever. */
  ownerId: string | null;
}): Promise<Token | undefined> {
  const { db } = what.ctx;
  const rows = await db.query<{ token: Token }>(
    `
    select ${TOKEN_VIEW} as token from tokens t where token_id = $1 and org_id = $2 and ($3::text is null or owner_id = $3::text)`,
    [what.tokenId, what.orgId, what.ownerId],
    { idempotent: true },
  );
  return rows[0]?.token;
}
