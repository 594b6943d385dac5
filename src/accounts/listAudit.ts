import { type AccountsContext, type Page, pageOf } from './context.js';

export interface AuditLine {
  readonly id: number;
  readonly at: string;
  readonly org_id: string | null;
  readonly actor: string;
  readonly action: string;
  readonly subject: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  /** Covers this line and the hash of the one before it. */
  readonly hash: string;
}

/** Newest first. */
export async function listAudit(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: string | null;
  action: string | null;
  before: number | null;
  limit: number;
}): Promise<Page<AuditLine>> {
  const rows = await what.ctx.db.query<{ line: AuditLine }>(
    `
    select to_jsonb(a) - 'previous_hash' as line from audit_log a
    where ($1::text is null or org_id = $1::text)
      and ($2::text is null or action = $2::text)
      and ($3::bigint is null or id < $3::bigint)
    order by id desc limit $4::int`,
    [what.orgId, what.action, what.before, what.limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ line }) => line),
    what.limit,
  );
}
