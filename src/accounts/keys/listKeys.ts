import type { KeyId, OrgId } from '../../domain/ids.js';
import { type AccountsContext, type Page, pageOf } from '../context.js';
import { KEY_VIEW, type ManagementKey } from './key.js';

/** Newest first, revoked ones included. */
export async function listKeys(what: {
  ctx: Pick<AccountsContext, 'db'>;
  orgId: OrgId;
  after: { readonly createdAt: string; readonly keyId: string } | null;
  limit: number;
}): Promise<Page<ManagementKey>> {
  const { ctx, orgId, after, limit } = what;
  const rows = await ctx.db.query<{ key: ManagementKey }>(
    `
    select ${KEY_VIEW} as key from management_keys k
    where org_id = $1 and ($2::text is null or (created_at, key_id) < ($3::text::timestamptz, $2::text))
    order by created_at desc, key_id desc limit $4::int`,
    [orgId, after?.keyId ?? null, after?.createdAt ?? null, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ key }) => key),
    limit,
  );
}

/** A key of this organization; somebody else's looks as if it were not there. */
export async function readKey(what: { ctx: Pick<AccountsContext, 'db'>; orgId: OrgId; keyId: KeyId }): Promise<ManagementKey | undefined> {
  const row = await what.ctx.db.one<{ key: ManagementKey }>(
    `select ${KEY_VIEW} as key from management_keys k where key_id = $1 and org_id = $2`,
    [what.keyId, what.orgId],
    { idempotent: true },
  );
  return row?.key;
}
