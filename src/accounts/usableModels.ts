import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import type { Reach } from './actor.js';

/** The model lists of the active tokens within reach; null = a token that may use every model. */
export async function usableModels(
  { db }: { readonly db: Database },
  { orgId, reach, nowMs }: { readonly orgId: OrgId; readonly reach: Reach; readonly nowMs: number },
): Promise<readonly (readonly string[] | null)[]> {
  const rows = await db.query<{ models: readonly string[] | null }>(
    `select distinct models from tokens where org_id = $1 and status = 'active' and (expires_at is null or expires_at > $3)
       and ($2::text is null or owner_id = $2::text)`,
    [orgId, reach.ownerId, new Date(nowMs)],
    { idempotent: true },
  );
  return rows.map(({ models }) => models);
}
