import type { CreditStore, OrgState, Unavailable } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { ChargeEvent } from '../domain/charge.js';
import { microCredits, ZERO } from '../domain/credits.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { inspectLoaded } from './look.js';
import { type MeteredEvent, type MeterPosted, type MeterShort, postMeterEvents } from './post.js';

export interface MeterCharge {
  readonly eventId: string;
  /** Goes on when an organization's limit pauses only what is not critical. */
  readonly critical: boolean;
  /** Its full price. What is booked is less where an allowance covers some of it. */
  readonly charge: ChargeEvent;
  /** Of this meter so many units of an organization's month cost nothing; the event has `quantity` of them, at `rate` each. */
  readonly allowance: { readonly meter: string; readonly units: number; readonly quantity: number; readonly rate: string } | null;
}

export type Metered =
  | { readonly kind: 'booked'; readonly events: ReadonlyMap<string, MeteredEvent>; readonly avail: number; readonly inForce: boolean }
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
  const sent = { orgId, events: JSON.stringify(events.map(row)), nowMs };
  const hold = { requestId: first.request_id, orgId, tokenId: first.token_id };
  const note = JSON.stringify({ ...first, cost: 0 });
  let aside = 0;
  try {
    // What it costs now, then what it costs at most: between the two others may have used the allowance up.
    for (const amountOf of [() => costNow(db, sent), () => fullPrice(events)]) {
      const amount = await amountOf();
      if (amount > 0) {
        const held = await store.rehold({ ...hold, amount: microCredits(amount), floor: ZERO, leaseMs: LEASE_MS, note });
        if (held.kind === 'unavailable') return held;
        aside = amount;
      }
      const state = await inspectLoaded(store, orgId);
      if (!state) return { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };
      if ('kind' in state) return state;
      const running = heldBy(state, hold.requestId);
      const answer = await postMeterEvents(db, { ...sent, aside, ...running });
      if (answer.kind === 'dearer') continue;
      if (answer.kind === 'short') return { ...answer, inFlight: running.inFlight };
      return { kind: 'booked', events: answer.events, avail: answer.balance.avail, inForce: await tell(store, orgId, answer) };
    }
  } finally {
    if (aside > 0) await store.settle({ ...hold, kind: 'final', cost: ZERO, event: null });
  }
  throw new Error(`a batch of meter events of ${orgId} cost more than its full price`);
}

/** A batch that is repeated, or covered by an allowance, needs nothing set aside. Postgres decides later; this spares others. */
async function costNow(db: Database, { orgId, events }: { readonly orgId: OrgId; readonly events: string }): Promise<number> {
  const row = await db.one<{ cost: number }>('select coalesce(sum(cost), 0)::bigint as cost from price_metered($1, $2)', [orgId, events], {
    idempotent: true,
  });
  return row?.cost ?? 0;
}

const fullPrice = (events: readonly MeterCharge[]): number => events.reduce((sum, { charge }) => sum + charge.cost, 0);

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

const row = ({ eventId, critical, allowance, charge }: MeterCharge) => ({ event_id: eventId, critical, allowance, charge });
