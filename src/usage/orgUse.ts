import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';

/** What an organization has ever been charged, and since when it exists. Micro-credits. */
export interface OrgUse {
  readonly used: number;
  readonly created_at: Date;
}

export const readOrgUse = (db: Database, orgId: OrgId): Promise<OrgUse | undefined> =>
  db.one<OrgUse>(
    `select o.created_at, coalesce((select sum(u.total) from tokens t join token_use u using (token_id) where t.org_id = o.org_id), 0)::bigint as used
     from organizations o where o.org_id = $1`,
    [orgId],
    { idempotent: true },
  );
