import { randomBytes } from 'node:crypto';
import { nameOf } from '../accounts/actor.js';
import { claimKey, type IdempotencyKey } from '../accounts/claimKey.js';
import type { AccountsContext } from '../accounts/context.js';
import { codeDigest, codeOf } from '../domain/codes.js';
import { base62, type OrgId } from '../domain/ids.js';
import { BATCH_VIEW, type CodeBatch } from './batch.js';

export const CODES_MAX = 10_000;

export interface BatchInput {
  readonly name: string;
  /** Micro-credits of each code. */
  readonly amount: number;
  readonly count: number;
  readonly validUntil: string | null;
  readonly creditsLastS: number | null;
  readonly forOrg: OrgId | null;
  readonly forNew: boolean;
}

export type CreatedCodes =
  /** The codes are shown here and nowhere else: only keyed digests of them are stored. */
  | { readonly kind: 'created'; readonly batch: CodeBatch; readonly codes: readonly string[] }
  | { readonly kind: 'unknown_org' }
  | { readonly kind: 'idempotency_mismatch' };

/** Makes a batch of codes: one statement. Repeated under the same key it shows the same codes again. */
export async function createCodes(what: {
  ctx: AccountsContext;
  input: BatchInput;
  key?: IdempotencyKey | undefined;
}): Promise<CreatedCodes> {
  const { ctx, input } = what;
  let batchId = `batch_${base62(16)}`;
  let seed = randomBytes(32).toString('base64');
  if (what.key) {
    const claim = await claimKey({ ctx, key: what.key, memo: `${batchId} ${seed}` });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    [batchId = '', seed = ''] = claim.memo.split(' ');
  }
  const codes = Array.from({ length: input.count }, (_, index) => codeOf(seed, index));
  const batch = (await insert(ctx, batchId, input, codes)) ?? (await existing(ctx, batchId));
  return batch ? { kind: 'created', batch, codes } : { kind: 'unknown_org' };
}

async function insert(ctx: AccountsContext, batchId: string, input: BatchInput, codes: readonly string[]): Promise<CodeBatch | undefined> {
  const rows = await ctx.db.query<{ batch: CodeBatch }>(
    `
    with b as (
      insert into code_batches (batch_id, name, amount, codes, valid_until, credits_last_s, for_org, for_new, created_by)
      select $1, $2, $3, $4, $5, $6, $7, $8, $9 where $7::text is null or exists (select from organizations where org_id = $7)
      on conflict (batch_id) do nothing returning *
    ), made as (
      insert into codes (digest, batch_id, last_four)
      select c.digest, b.batch_id, c.last_four from b, unnest($10::text[], $11::text[]) c (digest, last_four)
    ), audited as (
      insert into audit_log (org_id, actor, action, subject, details)
      select null, $9, 'codes.create', b.batch_id, jsonb_build_object('name', b.name, 'micro', b.amount, 'codes', b.codes, 'for_org', b.for_org)
      from b
    )
    select to_jsonb(b) || '{"used": 0, "withdrawn": 0}' as batch from b`,
    [
      batchId,
      input.name,
      input.amount,
      input.count,
      input.validUntil,
      input.creditsLastS,
      input.forOrg,
      input.forNew,
      nameOf(ctx.actor),
      codes.map((code) => codeDigest(code, ctx.pepper)),
      codes.map((code) => code.slice(-4)),
    ],
    { idempotent: true },
  );
  return rows[0]?.batch;
}

async function existing({ db }: AccountsContext, batchId: string): Promise<CodeBatch | undefined> {
  const rows = await db.query<{ batch: CodeBatch }>(`select ${BATCH_VIEW} as batch from code_batches b where batch_id = $1`, [batchId], {
    idempotent: true,
  });
  return rows[0]?.batch;
}
