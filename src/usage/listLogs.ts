import type { Database } from '../db/client.js';
import type { RequestStatus } from '../domain/charge.js';
import type { OrgId } from '../domain/ids.js';
import { firstIdAt, LOG_VIEW, type LogRow, uuidOf } from './logRow.js';

export interface LogFilter {
  /** Inclusive; null = from the first row. */
  readonly fromMs: number | null;
  /** Exclusive. */
  readonly toMs: number | null;
  readonly models: readonly string[];
  readonly tokenIds: readonly string[];
  readonly statuses: readonly RequestStatus[];
}

/**
 * The newest requests first, one page by the key of the last row: however deep, a page costs the same. The ids carry the
 * time, so both bounds narrow the index; `ts` says the same again and leaves out whole months.
 */
export async function listLogs(what: {
  db: Database;
  orgId: OrgId;
  filter: LogFilter;
  before: string | null;
  limit: number;
}): Promise<{ readonly rows: readonly LogRow[]; readonly hasMore: boolean }> {
  const { db, filter, limit } = what;
  const { fromMs, toMs } = filter;
  const lowest = fromMs === null ? null : firstIdAt(fromMs);
  const bounds = [toMs === null ? [] : [firstIdAt(toMs)], what.before === null ? [] : [uuidOf(what.before)]].flat().sort();
  const below = bounds[0] ?? null;
  const rows = await db.query<{ row: LogRow }>(
    `
    select ${LOG_VIEW} as row from usage_records r
    where r.org_id = $1
      and ($2::text is null or (r.request_id >= $2::text::uuid and r.ts >= request_time('req_' || $2::text)))
      and ($3::text is null or (r.request_id < $3::text::uuid and r.ts <= request_time('req_' || $3::text)))
      and ($4::text is null or r.model in (select jsonb_array_elements_text($4::text::jsonb)))
      and ($5::text is null
        or r.token_id in (select jsonb_array_elements_text($5::text::jsonb)))
      and ($6::text is null
        or r.status in (select jsonb_array_elements_text($6::text::jsonb)))
    order by r.request_id desc limit $7::int`,
    [what.orgId, lowest, below, listOf(filter.models), listOf(filter.tokenIds), listOf(filter.statuses), limit + 1],
    { idempotent: true },
  );
  return { rows: rows.slice(0, limit).map(({ row }) => row), hasMore: rows.length > limit };
}

const listOf = (values: readonly string[]): string | null => (values.length === 0 ? null : JSON.stringify(values));
