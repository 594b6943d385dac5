import type { Database } from '../db/client.js';
import type { OrgId, RequestId } from '../domain/ids.js';
import { LOG_VIEW, type LogRow, uuidOf } from './logRow.js';

/** One request of this organization; somebody else's looks as if it were not there. */
export async function readLog(what: { db: Database; orgId: OrgId; requestId: RequestId }): Promise<LogRow | undefined> {
  const { db, requestId } = what;
  const rows = await db.query<{ row: LogRow }>(
    `
    select ${LOG_VIEW} as row from usage_records r
    where r.request_id = $1::text::uuid and r.ts = request_time($2) and r.org_id = $3`,
    [uuidOf(requestId), requestId, what.orgId],
    { idempotent: true },
  );
  return rows[0]?.row;
}
