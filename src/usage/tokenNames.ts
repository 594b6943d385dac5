import type { Database } from '../db/client.js';
import type { LogRow } from './logRow.js';

/** What people know a token by, as it is called now; a row keeps only its id. */
export interface TokenNames {
  readonly token_name: string;
  readonly project: string | null;
  /** Whose token it is; null = the organization's. */
  readonly owner: { readonly id: string; readonly name: string | null } | null;
}

export type NamedLogRow = LogRow & TokenNames;

const NAMELESS: TokenNames = { token_name: '', project: null, owner: null };

export async function withNames<Row extends LogRow>(db: Database, rows: readonly Row[]): Promise<readonly (Row & TokenNames)[]> {
  const names = await namesOf(
    db,
    rows.map((row) => row.token_id),
  );
  return rows.map((row) => named(row, names));
}

export const named = <Row extends LogRow>(row: Row, names: ReadonlyMap<string, TokenNames>): Row & TokenNames => ({
  ...row,
  ...(names.get(row.token_id) ?? NAMELESS),
});

export async function namesOf(db: Database, ids: readonly string[]): Promise<ReadonlyMap<string, TokenNames>> {
  if (ids.length === 0) return new Map();
  const rows = await db.query<{ token_id: string; names: TokenNames }>(
    `
    select t.token_id, jsonb_build_object('token_name', t.name, 'project', t.project,
      'owner', case when t.owner_id is not null then jsonb_build_object('id', t.owner_id, 'name', p.name) end) as names
    from tokens t left join people p on p.person_id = t.owner_id where t.token_id = any ($1::text[])`,
    [[...new Set(ids)]],
    { idempotent: true },
  );
  return new Map(rows.map((row) => [row.token_id, row.names]));
}
