import type { OrgId, TokenId } from '../domain/ids.js';
import type { AccountsContext } from './context.js';
import { TOKEN_VIEW, type Token } from './token.js';

/** A token of this organization; somebody else's looks as if it were not there. */
export async function readToken(what: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId; tokenId: TokenId }): Promise<Token | undefined> {
  const { db } = what.ctx;
  const rows = await db.query<{ token: Token }>(
    `
    select ${TOKEN_VIEW} as token from tokens t where token_id = $1 and org_id = $2`,
    [what.tokenId, what.orgId],
    { idempotent: true },
  );
  return rows[0]?.token;
}
