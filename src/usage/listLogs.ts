import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { addBelow, type LogFilter, tokensMeant, whereOf } from './logFilter.js';
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
  const meant = tokensMeant(what.filter);
  const where = whereOf(what.orgId, meant === null ? what.filter : { ...what.filter, projects: [], members: [] });
  if (what.before !== null) addBelow(where, uuidOf(what.before));
  const newest = (also: string): string => `
    select r.* from usage_records r where ${[...where.parts, ...(also === '' ? [] : [also])].join(' and ')}
    order by r.request_id desc limit $${where.params.length + 1}::int`;
  // A label says nothing about when its tokens were last used: a page of each of them is read from the token's own index, rather than
  // everything of the organization until enough of them have turned up.
  const tokens = meant === null ? null : meant(where.params.length + 2);
  const rows = await what.db.query<{ row: LogRow }>(
    tokens === null
      ? `select ${LOG_VIEW} as row from (${newest('')}) r`
      : `select ${LOG_VIEW} as row from (${tokens.select}) t cross join lateral (${newest('r.token_id = t.token_id')}) r
         order by r.request_id desc limit $${where.params.length + 1}::int`,
    [...where.params, what.limit + 1, ...(tokens?.params ?? [])],
    { idempotent: true },
  );
  return { rows: rows.slice(0, what.limit).map(({ row }) => row), hasMore: rows.length > what.limit };
}
