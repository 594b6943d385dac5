import { nameOf } from '../accounts/actor.js';
import { type AccountsContext, type Page, pageOf } from '../accounts/context.js';
import { BATCH_VIEW, type CodeBatch } from './batch.js';

type Reader = Pick<AccountsContext, 'db'>;

/** Newest first. `after` is the place of the last row of the page before. */
export async function listBatches(what: {
  ctx: Reader;
  after: { readonly createdAt: string; readonly batchId: string } | null;
  limit: number;
}): Promise<Page<CodeBatch>> {
  const { after, limit } = what;
  const rows = await what.ctx.db.query<{ batch: CodeBatch }>(
    `
    select ${BATCH_VIEW} as batch from code_batches b
    where $1::text is null or (created_at, batch_id) < ($2::text::timestamptz, $1::text)
    order by created_at desc, batch_id desc limit $3::int`,
    [after?.batchId ?? null, after?.createdAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ batch }) => batch),
    limit,
  );
}

export async function readBatch({ ctx, batchId }: { ctx: Reader; batchId: string }): Promise<CodeBatch | undefined> {
  const rows = await ctx.db.query<{ batch: CodeBatch }>(
    `select ${BATCH_VIEW} as batch from code_batches b where batch_id = $1`,
    [batchId],
    {
      idempotent: true,
    },
  );
  return rows[0]?.batch;
}

/** What was redeemed stays redeemed; the rest of the batch is worth nothing from here on. Doing it twice changes nothing. */
export async function disableBatch({ ctx, batchId }: { ctx: AccountsContext; batchId: string }): Promise<CodeBatch | undefined> {
  await ctx.db.query(
    `
    with b as (
      update code_batches set disabled_at = now() where batch_id = $1 and disabled_at is null returning batch_id
    )
    insert into audit_log (org_id, actor, action, subject) select null, $2, 'codes.disable', b.batch_id from b`,
    [batchId, nameOf(ctx.actor)],
    { idempotent: true },
  );
  return readBatch({ ctx, batchId });
}

export interface CodeUse {
  /** Where the next page starts; it says nothing about the code. */
  readonly place: string;
  readonly last_four: string;
  readonly used_at: string;
  readonly used_org: string;
  readonly used_by: string;
  readonly grant_id: number;
}

/** Which codes of a batch were redeemed, by whom, newest first. */
export async function listRedemptions(what: {
  ctx: Reader;
  batchId: string;
  after: { readonly usedAt: string; readonly place: string } | null;
  limit: number;
}): Promise<Page<CodeUse>> {
  const { batchId, after, limit } = what;
  const rows = await what.ctx.db.query<{ use: CodeUse }>(
    `
    select jsonb_build_object('place', c.digest, 'last_four', c.last_four, 'used_at', c.used_at, 'used_org', c.used_org,
      'used_by', c.used_by, 'grant_id', c.grant_id) as use
    from codes c where c.batch_id = $1 and c.used_at is not null
      and ($2::text is null or (c.used_at, c.digest) < ($3::text::timestamptz, $2::text))
    order by c.used_at desc, c.digest desc limit $4::int`,
    [batchId, after?.place ?? null, after?.usedAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ use }) => use),
    limit,
  );
}
