import type { OperatorKeyId } from '../../domain/ids.js';
import { type AccountsContext, type Page, pageOf } from '../context.js';
import { OPERATOR_KEY_VIEW, type OperatorKey } from './operatorKey.js';

/** Newest first, revoked ones included. */
export async function listOperatorKeys(what: {
  ctx: Pick<AccountsContext, 'db'>;
  after: { readonly createdAt: string; readonly id: string } | null;
  limit: number;
}): Promise<Page<OperatorKey>> {
  const { ctx, after, limit } = what;
  const rows = await ctx.db.query<{ key: OperatorKey }>(
    `
    select ${OPERATOR_KEY_VIEW} as key from operator_keys k
    where $1::text is null or (created_at, operator_key_id) < ($2::text::timestamptz, $1::text)
    order by created_at desc, operator_key_id desc limit $3::int`,
    [after?.id ?? null, after?.createdAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ key }) => key),
    limit,
  );
}

export async function readOperatorKey(what: { ctx: Pick<AccountsContext, 'db'>; id: OperatorKeyId }): Promise<OperatorKey | undefined> {
  const row = await what.ctx.db.one<{ key: OperatorKey }>(
    `select ${OPERATOR_KEY_VIEW} as key from operator_keys k where operator_key_id = $1`,
    [what.id],
    { idempotent: true },
  );
  return row?.key;
}
