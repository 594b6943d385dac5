import type { CreditStore, Unavailable } from '../credits/store.js';
import type { Database } from '../db/client.js';
import { MICRO_MAX, type MicroCredits, ZERO } from '../domain/credits.js';
import { newRequestId, type OrgId, type TokenId } from '../domain/ids.js';
import { inspectLoaded } from './look.js';
import { type DeductionOrder, type PostedDeduction, postDeduction } from './post.js';
import { projectOrg } from './project.js';

export interface Deduction extends Omit<DeductionOrder, 'reserved' | 'amount'> {
  readonly amount: MicroCredits;
  /** A token of the organization's own under which the amount is set aside meanwhile. */
  readonly tokenId: TokenId;
}

export type Deducted =
  | (Extract<PostedDeduction, { kind: 'taken' }> & {
      readonly inForce: boolean;
      /** From which grants. */
      readonly from: readonly TakenFrom[];
    })
  | Exclude<PostedDeduction, { kind: 'taken' }>
  | { readonly kind: 'unknown_org' }
  | Unavailable;

export interface TakenFrom {
  readonly grantId: number;
  readonly amount: number;
}

const LEASE_MS = 20_000;

/**
 * Takes credits back. The amount is set aside in the hot store while Postgres decides, so that no running request can be
 * promised the same credits and nobody ends in debt; whoever dies here leaves a hold that the sweep gives back.
 */
export async function deduct(db: Database, store: CreditStore, order: Deduction): Promise<Deducted> {
  const { orgId, tokenId, amount } = order;
  const before = await inspectLoaded(store, orgId);
  if (!before) return { kind: 'unknown_org' };
  if ('kind' in before) return before;
  const free = before.balance.avail - before.held - before.pend;
  // Whatever is asked for beyond what is there would only hold up the customer's own requests for a moment.
  if (free < amount) return withoutRoom(db, order, free);
  const hold = { requestId: newRequestId(), orgId, tokenId };
  const held = await store.rehold({ ...hold, amount, floor: ZERO, leaseMs: LEASE_MS, note: NOTE });
  if (held.kind === 'unavailable') return held;
  try {
    const state = await inspectLoaded(store, orgId);
    if (!state) return { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };
    if ('kind' in state) return state;
    const posted = await postDeduction(db, { ...order, reserved: state.held + state.pend - amount });
    return posted.kind === 'taken' ? await told(db, store, orgId, posted) : posted;
  } finally {
    await store.settle({ ...hold, kind: 'final', cost: ZERO, event: null });
  }
}

/** Should the sweep find it, its row says what it was. */
const NOTE = JSON.stringify({ model: 'deduction', served_model: 'deduction', endpoint: 'deduction', flags: ['owner_vanished'] });

/** Nothing can be taken; only a deduction that was made before under this key is answered again. */
async function withoutRoom(db: Database, order: Deduction, free: number): Promise<Deducted> {
  const posted = await postDeduction(db, { ...order, reserved: MICRO_MAX });
  if (posted.kind === 'taken') return { ...posted, inForce: true, from: await takenBy(db, posted.txId) };
  return posted.kind === 'short' ? { kind: 'short', room: Math.max(0, free) } : posted;
}

/** Before the hold is given back, so that the credits are never seen as free in between. */
async function told(
  db: Database,
  store: CreditStore,
  orgId: OrgId,
  posted: Extract<PostedDeduction, { kind: 'taken' }>,
): Promise<Deducted> {
  const project = await projectOrg(db, store, orgId);
  return { ...posted, inForce: project.kind === 'projected', from: await takenBy(db, posted.txId) };
}

async function takenBy(db: Database, txId: number): Promise<TakenFrom[]> {
  const rows = await db.query<{ grant_id: number; amount: number }>(
    `select a.grant_id, -e.amount as amount from ledger_entries e join ledger_accounts a on a.id = e.account_id
     where e.tx_id = $1 and a.grant_id is not null order by e.id`,
    [txId],
    { idempotent: true },
  );
  return rows.map((row) => ({ grantId: row.grant_id, amount: row.amount }));
}
