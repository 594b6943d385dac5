import { nameOf } from '../accounts/actor.js';
import { type AccountsContext, type Page, pageOf } from '../accounts/context.js';

export const CODE_STATES = ['unused', 'used', 'disabled', 'expired'] as const;
export type CodeState = (typeof CODE_STATES)[number];

/** One code of a batch, as far as anything is still known of it: never what it reads. */
export interface BatchCode {
  readonly code_id: string;
  readonly last_four: string;
  readonly state: CodeState;
  readonly used_at: string | null;
  readonly used_org: string | null;
  readonly used_by: string | null;
  readonly grant_id: number | null;
  readonly disabled_at: string | null;
}

export const isCodeId = (text: string): text is string => /^code_[0-9a-f]{32}$/.test(text);

type Reader = Pick<AccountsContext, 'db' | 'clock'>;

/** In an order that says nothing. Whoever lost a code still knows how it ended, which is how support finds it. */
export async function listCodes(what: {
  ctx: Reader;
  batchId: string;
  lastFour: string | null;
  state: CodeState | null;
  after: string | null;
  limit: number;
}): Promise<Page<BatchCode>> {
  const { ctx, batchId, lastFour, state, after, limit } = what;
  const rows = await ctx.db.query<{ code: BatchCode }>(
    `
    select ${CODE_VIEW} as code from codes c join code_batches b using (batch_id)
    where c.batch_id = $1 and ($3::text is null or c.last_four = $3) and ($4::text is null or ${STATE} = $4)
      and ($5::text is null or ${CODE_ID} > $5)
    order by c.digest limit $6::int`,
    [batchId, new Date(ctx.clock.nowMs()), lastFour, state, after, limit + 1],
    { idempotent: true },
  );
  return pageOf(
    rows.map(({ code }) => code),
    limit,
  );
}

export type DisabledCode =
  | { readonly kind: 'disabled'; readonly code: BatchCode }
  /** What it gave is the organization's; that is taken back by a deduction. */
  | { readonly kind: 'used'; readonly code: BatchCode }
  | { readonly kind: 'unknown_code' };

/** One code is worth nothing from here on. Of whoever redeems it and whoever withdraws it, the first wins; twice changes nothing. */
export async function disableCode(what: { ctx: AccountsContext; batchId: string; codeId: string }): Promise<DisabledCode> {
  const { ctx, batchId, codeId } = what;
  await ctx.db.query(
    `
    with c as (
      update codes c set disabled_at = $3 where c.batch_id = $1 and ${CODE_ID} = $2 and c.used_at is null and c.disabled_at is null
      returning c.batch_id, c.last_four
    )
    insert into audit_log (org_id, actor, action, subject, details)
    select null, $4, 'code.disable', c.batch_id, jsonb_build_object('code_id', $2::text, 'last_four', c.last_four) from c`,
    [batchId, codeId, new Date(ctx.clock.nowMs()), nameOf(ctx.actor)],
    { idempotent: true },
  );
  const row = await ctx.db.one<{ code: BatchCode }>(
    `select ${CODE_VIEW} as code from codes c join code_batches b using (batch_id) where c.batch_id = $1 and ${CODE_ID} = $3`,
    [batchId, new Date(ctx.clock.nowMs()), codeId],
    { idempotent: true },
  );
  if (!row) return { kind: 'unknown_code' };
  return { kind: row.code.used_at === null ? 'disabled' : 'used', code: row.code };
}

/** Part of a digest that is keyed: it names the code and says nothing about it. */
const CODE_ID = `('code_' || left(c.digest, 32))`;

/** The state of the row `c` of the batch `b` at the moment $2. */
const STATE = `(case when c.used_at is not null then 'used' when c.disabled_at is not null or b.disabled_at is not null then 'disabled'
  when b.valid_until <= $2::timestamptz then 'expired' else 'unused' end)`;

const CODE_VIEW = `
  jsonb_build_object('code_id', ${CODE_ID}, 'last_four', c.last_four, 'state', ${STATE}, 'used_at', c.used_at, 'used_org', c.used_org,
    'used_by', c.used_by, 'grant_id', c.grant_id, 'disabled_at', case when c.used_at is null then coalesce(c.disabled_at, b.disabled_at) end)`;
