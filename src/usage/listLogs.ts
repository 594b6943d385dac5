import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { addBelow, type LogFilter, whereOf } from './logFilter.js';
import { LOG_VIEW, type LogRow, uuidOf } from './logRow.js';

export interface LogPage {
  readonly rows: readonly LogRow[];
  readonly hasMore: boolean;
}

/** The newest requests first, one page by the key of the last row: however deep, a page costs the same. */
export async function listLogs(what: {
  db: Database;
  orgId: OrgId;
  filter: LogFilter;
  before: string | null;
  limit: number;
}): Promise<LogPage> {
  const where = whereOf(what.orgId, what.filter);
  if (what.before !== null) addBelow(where, uuidOf(what.before));
  const rows = await what.db.query<{ row: LogRow }>(
    `select ${LOG_VIEW} as row from usage_records r
     where ${where.parts.join(' and ')}
     order by r.request_id desc limit $${where.params.length + 1}::int`,
    [...where.params, what.limit + 1],
    { idempotent: true },
  );
  return { rows: rows.slice(0, what.limit).map(({ row }) => row), hasMore: rows.length > what.limit };
}
