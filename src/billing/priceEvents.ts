import type { Org } from '../accounts/org.js';
import { type ChargeEvent, NO_USAGE, type Usage } from '../domain/charge.js';
import { type OrgId, requestIdAt, type TokenId } from '../domain/ids.js';
import type { MeterCharge } from '../ledger/meter.js';
import type { MeterEntry, PriceBook } from '../pricing/book.js';
import { charge } from '../pricing/charge.js';

/** Something a customer's own system did: a query, a call of so many seconds, a thousand traces. */
export interface MeterEvent {
  readonly eventId: string;
  readonly action: string;
  /** A whole number of units; of seconds for what is sold by time. */
  readonly quantity: number;
  readonly tokenId: TokenId;
  readonly agent: string | null;
  readonly conversation: string | null;
  readonly atMs: number;
}

/** Sold by time, so that its quantity is a number of seconds. */
export const isTimed = (meter: MeterEntry): boolean => meter.entry.stepSeconds > 0;

/**
 * Events with their full prices: the meter's, times the organization's group. What an allowance takes off is decided where
 * they are booked. Undefined when that group is not defined.
 */
export function priceEvents(what: {
  readonly org: Pick<Org, 'org_id' | 'price_group'>;
  readonly book: PriceBook;
  readonly events: readonly (MeterEvent & { readonly meter: MeterEntry })[];
}): MeterCharge[] | undefined {
  const { org, book, events } = what;
  const times = book.group(org.price_group);
  if (!times) return undefined;
  return events.map((event) => {
    const { meter, action, quantity } = event;
    const usage: Usage = isTimed(meter) ? { ...NO_USAGE, seconds: quantity } : { ...NO_USAGE, meters: { [action]: quantity } };
    const { cost, breakdown } = charge({ entry: meter.entry, usage, times });
    const made: ChargeEvent = {
      ...ALWAYS,
      request_id: requestIdAt(event.atMs),
      org_id: org.org_id as OrgId,
      token_id: event.tokenId,
      model: action,
      served_model: action,
      endpoint: `meter:${action}`,
      cost,
      held: cost,
      usage,
      price_version: book.version,
      breakdown,
      client_request_id: event.eventId,
      agent: event.agent,
      conversation: event.conversation,
    };
    const [line] = breakdown.lines;
    const { allowance: units, critical } = meter;
    const allowance = units !== null && line ? { meter: action, units, quantity: line.quantity, rate: line.rate } : null;
    return { eventId: event.eventId, critical, allowance, charge: made };
  });
}

const ALWAYS = {
  kind: 'final',
  status: 'complete',
  upstream: 'meter',
  stream: false,
  http_status: 200,
  debt: false,
  operator_loss: 0,
  source: 'upstream',
  end_user: null,
  finish_reason: null,
  latency_ms: 0,
  ttft_ms: null,
  flags: [],
  attempts: 0,
} as const;
