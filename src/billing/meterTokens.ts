import { randomBytes } from 'node:crypto';
import type { AccountsContext } from '../accounts/context.js';
import { newTokenId, type OrgId, type TokenId } from '../domain/ids.js';

export interface MeterToken {
  readonly id: TokenId;
  readonly agent: string | null;
}

/** Those of the named tokens that belong to the organization. */
export async function knownTokens(
  ctx: Pick<AccountsContext, 'db'>,
  orgId: OrgId,
  ids: readonly TokenId[],
): Promise<ReadonlyMap<string, MeterToken>> {
  if (ids.length === 0) return new Map();
  const rows = await ctx.db.query<MeterToken>(
    'select token_id as id, agent from tokens where org_id = $1 and token_id = any ($2::text[])',
    [orgId, ids],
    { idempotent: true },
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/**
 * The token that stands for events without one: revoked from the first moment, its digest of nothing, so that it names a
 * line in the books and can never spend.
 */
export async function ownToken({ db }: Pick<AccountsContext, 'db'>, orgId: OrgId): Promise<MeterToken> {
  const find = () => db.one<MeterToken>(`select token_id as id, agent from tokens where org_id = $1 and created_by = '${NAME}'`, [orgId]);
  const known = await find();
  if (known) return known;
  await db.query(
    `insert into tokens (token_id, org_id, name, digest, status, created_by) values ($1, $2, 'Meter events', $3, 'revoked', '${NAME}')
     on conflict (org_id) where created_by = '${NAME}' do nothing`,
    [newTokenId(orgId), orgId, randomBytes(32).toString('hex')],
    { idempotent: true },
  );
  const made = await find();
  if (!made) throw new Error(`no token for the meter events of ${orgId} could be made`);
  return made;
}

const NAME = 'system:meters';
