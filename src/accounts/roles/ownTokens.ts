import type { Database } from '../../db/client.js';
import type { OrgId } from '../../domain/ids.js';
import type { Reach } from '../actor.js';

/** The tokens whose usage somebody may see; null = all of the organization, whatever they will be. */
export async function tokensWithin(db: Database, orgId: OrgId, { ownerId }: Reach): Promise<readonly string[] | null> {
  if (ownerId === null) return null;
  const rows = await db.query<{ token_id: string }>('select token_id from tokens where org_id = $1 and owner_id = $2', [orgId, ownerId], {
    idempotent: true,
  });
  return rows.map((row) => row.token_id);
}
