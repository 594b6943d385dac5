import { nameOf } from '../accounts/actor.js';
import { claimKey, type IdempotencyKey } from '../accounts/claimKey.js';
import type { AccountsContext, Projected } from '../accounts/context.js';
import { readOrg } from '../accounts/readOrg.js';
import { codeDigest, meantCode } from '../domain/codes.js';
import { base62, type OrgId } from '../domain/ids.js';
import { type Attempts, postRedemption, type Redemption } from '../ledger/post.js';

export type Redeemed =
  | (Extract<Redemption, { kind: 'redeemed' }> & { readonly effect: Projected })
  | Exclude<Redemption, { kind: 'redeemed' }>
  | { readonly kind: 'unknown_org' }
  | { readonly kind: 'idempotency_mismatch' };

/** A code has 125 bits, so this is not what keeps guessing hopeless; it keeps it quiet. */
const ATTEMPTS: Attempts = { perHour: 10, failuresInARow: 5, pauseS: 900 };
/** Tried in place of what cannot be a code, so that it counts as a failure like any other. */
const NO_CODE = '0'.repeat(64);

/** Turns a code into credits, once. What was typed is never stored. */
export async function redeem(what: {
  ctx: AccountsContext;
  orgId: OrgId;
  typed: string;
  key?: Pick<IdempotencyKey, 'scope' | 'key'> | undefined;
}): Promise<Redeemed> {
  const { ctx, orgId } = what;
  if (!(await readOrg({ ctx, orgId }))) return { kind: 'unknown_org' };
  const code = meantCode(what.typed);
  const digest = code === undefined ? NO_CODE : codeDigest(code, ctx.pepper);
  let key = base62(22);
  if (what.key) {
    const claim = await claimKey({ ctx, key: { ...what.key, request: digest }, memo: key });
    if (claim.kind === 'mismatch') return { kind: 'idempotency_mismatch' };
    key = claim.memo;
  }
  const answer = await postRedemption(ctx.db, {
    orgId,
    digest,
    key,
    actor: nameOf(ctx.actor),
    attempts: ATTEMPTS,
    nowMs: ctx.clock.nowMs(),
  });
  return answer.kind === 'redeemed' ? { ...answer, effect: await ctx.project.org(orgId) } : answer;
}
