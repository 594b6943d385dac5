import type { Database } from '../db/client.js';
import type { OrgId } from '../domain/ids.js';
import { type LogPage, listLogs } from './listLogs.js';
import type { LogFilter } from './logFilter.js';
import { type NamedLogRow, named, namesOf, type TokenNames } from './tokenNames.js';

const PAGE_ROWS = 1_000;

/** Every row of a filter, newest first, page by page: the memory it takes does not depend on how many there are. */
export async function* exportLogs(what: { db: Database; orgId: OrgId; filter: LogFilter }): AsyncGenerator<readonly NamedLogRow[]> {
  const names = new Map<string, TokenNames>();
  let before: string | null = null;
  for (;;) {
    const page: LogPage = await listLogs({ ...what, before, limit: PAGE_ROWS });
    if (names.size > NAMES_MAX) names.clear();
    const unknown = page.rows.map((row) => row.token_id).filter((id) => !names.has(id));
    for (const [id, known] of await namesOf(what.db, unknown)) names.set(id, known);
    yield page.rows.map((row) => named(row, names));
    before = page.rows.at(-1)?.request_id ?? null;
    if (!page.hasMore || before === null) return;
  }
}

const NAMES_MAX = 10_000;
