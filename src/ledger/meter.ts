import type { CreditStore, OrgState, Unavailable } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { ChargeEvent } from '../domain/charge.js';
import { microCredits, ZERO } from '../domain/credits.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { type MeterPosted, type MeterShort, postMeterEvents } from './post.js';

export interface MeterCharge {
  readonly eventId: string;
  /** Goes on when an organization's limit pauses only what is not critical. */
  readonly critical: boolean;
  readonly charge: ChargeEvent;
}

export type Metered =
  | { readonly kind: 'booked'; readonly requestIds: ReadonlyMap<string, string>; readonly avail: number; readonly inForce: boolean }
  /** Nothing of the batch was booked. */
  | (MeterShort & { readonly inFlight: number })
  | Unavailable;

const LEASE_MS = 20_000;

/**
 * Charges events that happened elsewhere, all or none, once per event id. Their sum is set aside in the hot store while
 * Postgres decides, so that no running request can be promised the same credits; whoever dies here leaves a hold that the
 * sweep gives back. The hot store knows the new balance before this answers.
 */
export async function chargeMeters(
  db: Database,
  store: CreditStore,
  batch: { readonly orgId: OrgId; readonly events: readonly MeterCharge[]; readonly nowMs: number },
): Promise<Metered> {
  const { orgId, events, nowMs } = batch;
  const first = events[0]?.charge;
  if (!first) throw new RangeError('a batch of meter events has at least one event');
  const total = await costOfNew(db, orgId, events);
  const hold = { requestId: first.request_id, orgId, tokenId: first.token_id };
  const aside = total > 0;
  if (aside) {
    const note = JSON.stringify({ ...first, cost: 0 });
    const held = await store.rehold({ ...hold, amount: microCredits(total), floor: ZERO, leaseMs: LEASE_MS, note });
    if (held.kind === 'unavailable') return held;
  }
  const giveBack = async () => {
    if (aside) await store.settle({ ...hold, kind: 'final', cost: ZERO, event: null });
  };
  try {
    const state = await store.inspect(orgId);
    if (!state) return { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };
    if ('kind' in state) return state;
    const running = heldBy(state, hold.requestId);
    const answer = await postMeterEvents(db, { orgId, events: JSON.stringify(events.map(row)), ...running, nowMs });
    if (answer.kind === 'short') return { ...answer, inFlight: running.inFlight };
    return { kind: 'booked', requestIds: answer.requestIds, avail: answer.balance.avail, inForce: await tell(store, orgId, answer) };
  } finally {
    await giveBack();
  }
}

/** A batch that is repeated needs nothing set aside. Whether it is one is decided later, by Postgres; this only spares others. */
async function costOfNew(db: Database, orgId: OrgId, events: readonly MeterCharge[]): Promise<number> {
  const costs = new Map(events.toReversed().map(({ eventId, charge }) => [eventId, charge.cost]));
  const known = await db.query<{ id: string }>(
    'select event_id as id from meter_events where org_id = $1 and event_id = any ($2::text[])',
    [orgId, [...costs.keys()]],
    { idempotent: true },
  );
  for (const { id } of known) costs.delete(id);
  return [...costs.values()].reduce((sum, cost) => sum + cost, 0);
}

/** Before the hold is given back, so that the credits are never seen as free in between. */
async function tell(store: CreditStore, orgId: OrgId, { balance, tokens }: MeterPosted): Promise<boolean> {
  return (await store.applied({ orgId, balance, tokens, clear: [] })).kind === 'applied';
}

/** What is set aside or not booked yet, besides our own hold: together, by running requests, and by token. */
function heldBy(state: OrgState, ownId: string): { held: number; inFlight: number; tokenHeld: Record<string, number> } {
  const byToken = new Map<TokenId, number>();
  const add = (tokenId: TokenId, amount: number) => byToken.set(tokenId, (byToken.get(tokenId) ?? 0) + amount);
  const holds = state.holds.filter((one) => one.requestId !== ownId);
  for (const { tokenId, amount } of holds) add(tokenId, amount);
  for (const { tokenId, cost } of state.pending) add(tokenId, cost);
  const inFlight = holds.reduce((sum, { amount }) => sum + amount, 0);
  const pending = state.pending.reduce((sum, { cost }) => sum + cost, 0);
  return { held: inFlight + pending, inFlight, tokenHeld: Object.fromEntries(byToken) };
}

const row = ({ eventId, critical, charge }: MeterCharge) => ({ event_id: eventId, critical, charge });
