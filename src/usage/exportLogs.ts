import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { type LogPage, listLogs } from './listLogs.js';
import type { LogFilter } from './logFilter.js';
import type { LogRow } from './logRow.js';

/** A row with what a person knows its token by. */
export interface NamedLogRow extends LogRow {
  readonly token_name: string;
}

const PAGE_ROWS = 1_000;

/** Every row of a filter, newest first, page by page: the memory it takes does not depend on how many there are. */
export async function* exportLogs(what: { db: Database; orgId: OrgId; filter: LogFilter }): AsyncGenerator<readonly NamedLogRow[]> {
  const names = new Map<string, string>();
  let before: string | null = null;
  for (;;) {
    const page: LogPage = await listLogs({ ...what, before, limit: PAGE_ROWS });
    if (names.size > NAMES_MAX) names.clear();
    const unknown = [...new Set(page.rows.map((row) => row.token_id))].filter((id) => !names.has(id));
    for (const [id, name] of await namesOf(what.db, unknown)) names.set(id, name);
    yield page.rows.map((row) => ({ ...row, token_name: names.get(row.token_id) ?? '' }));
    before = page.rows.at(-1)?.request_id ?? null;
    if (!page.hasMore || before === null) return;
  }
}

const NAMES_MAX = 10_000;

async function namesOf(db: Database, ids: readonly string[]): Promise<readonly (readonly [string, string])[]> {
  if (ids.length === 0) return [];
  const rows = await db.query<{ token_id: string; name: string }>(
    'select token_id, name from tokens where token_id = any ($1::text[])',
    [ids],
    {
      idempotent: true,
    },
  );
  return rows.map((row) => [row.token_id, row.name]);
}
