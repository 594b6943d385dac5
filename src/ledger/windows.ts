import type { Database } from '../db/client.js';
import type { OrgId, TokenId } from '../domain/ids.js';

/**
 * Starts the month anew where it has ended in the organization's own time zone. Repeating it changes nothing. Answers
 * whose month moved; project them afterwards.
 */
export async function rollMonths(
  db: Database,
  options: { readonly nowMs?: number; readonly orgId?: OrgId; readonly limit?: number } = {},
): Promise<readonly OrgId[]> {
  const rows = await db.query<{ id: OrgId }>(
    'select id from roll_months(coalesce($1::timestamptz, now()), $2, $3) id',
    [time(options.nowMs), options.orgId ?? null, options.limit ?? 500],
    { idempotent: true },
  );
  return rows.map((row) => row.id);
}

/** The same for the days, weeks and months of token quotas; the tokens are left marked for projection. */
export async function rollWindows(
  db: Database,
  options: { readonly nowMs?: number; readonly tokenId?: TokenId; readonly limit?: number } = {},
): Promise<readonly TokenId[]> {
  const rows = await db.query<{ id: TokenId }>(
    'select id from roll_windows(coalesce($1::timestamptz, now()), $2, $3) id',
    [time(options.nowMs), options.tokenId ?? null, options.limit ?? 500],
    { idempotent: true },
  );
  return rows.map((row) => row.id);
}

const time = (ms: number | undefined): Date | null => (ms === undefined ? null : new Date(ms));
