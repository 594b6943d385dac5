import { type AccountsContext, type Page, pageOf } from './context.js';

export interface AuditLine {
  readonly id: number;
  readonly at: string;
  readonly org_id: string | null;
  readonly actor: string;
  readonly action: string;
  readonly subject: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  /** From where it was asked for; null when nobody asked, or before this was noted. */
  readonly ip: string | null;
  /** Covers this line and the hash of the one before it. */
  readonly hash: string;
}

export interface AuditFilter {
  readonly orgId: string | null;
  /** `token.create`, or `token` for everything about tokens. */
  readonly action: string | null;
  readonly actor: string | null;
  readonly subject: string | null;
  readonly from: string | null;
  /** Exclusive. */
  readonly to: string | null;
}

const PAGE = 500;

/** All of a filter, newest first, a page at a time in memory. */
export async function* everyAuditLine(what: {
  ctx: Pick<AccountsContext, 'db'>;
  filter: AuditFilter;
}): AsyncGenerator<readonly AuditLine[]> {
  for (let before: number | null = null; ; ) {
    const page: Page<AuditLine> = await listAudit({ ...what, before, limit: PAGE });
    if (page.rows.length > 0) yield page.rows;
    const last = page.rows.at(-1);
    if (!page.hasMore || !last) return;
    before = last.id;
  }
}

/** Newest first. */
export async function listAudit(what: {
  ctx: Pick<AccountsContext, 'db'>;
  filter: AuditFilter;
  before: number | null;
  limit: number;
}): Promise<Page<AuditLine>> {
  const { orgId, action, actor, subject, from, to } = what.filter;
  const rows = await what.ctx.db.query<{ line: AuditLine }>(
    `
    select to_jsonb(a) - 'previous_hash' as line from audit_log a
    where ($1::text is null or org_id = $1::text)
      and ($2::text is null or action = $2::text or split_part(action, '.', 1) = $2::text)
      and ($3::text is null or actor = $3::text)
      and ($4::text is null or subject = $4::text)
      and ($5::text is null or at >= $5::text::timestamptz)
      and ($6::text is null or at < $6::text::timestamptz)
      and ($7::bigint is null or id < $7::bigint)
    order by id desc limit $8::int`,
    [orgId, action, actor, subject, from, to, what.before, what.limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ line }) => line),
    what.limit,
  );
}
