import type { DueHold } from '../credits/store.js';
import { type ChargeEvent, NO_USAGE } from '../domain/charge.js';

/** Escapes of characters Postgres cannot store: NUL, and halves of surrogate pairs. */
const UNSTORABLE = /\\u(?:0000|d[89a-f][0-9a-f]{2})/i;

/** An event as Postgres can take it: text it could not store is replaced, everything else stays byte for byte. */
export function sendable(event: string): string {
  if (!UNSTORABLE.test(event)) return event;
  try {
    return JSON.stringify(JSON.parse(event), (_, value: unknown) =>
      typeof value === 'string' ? Buffer.from(value).toString().replaceAll('\0', '\ufffd') : value,
    );
  } catch {
    return event; // not JSON at all: Postgres will say so, and the row is set aside
  }
}

/** The row of a request whose owner vanished: what it had earned, as its last note says. */
export function orphaned(hold: DueHold): string {
  const floor = {
    kind: 'floor',
    status: 'orphaned',
    cost: hold.floor,
    request_id: hold.requestId,
    org_id: hold.orgId,
    token_id: hold.tokenId,
  };
  return JSON.stringify({ ...noteOf(hold), ...floor });
}

function noteOf(hold: DueHold): Partial<ChargeEvent> {
  try {
    const note: unknown = JSON.parse(hold.note);
    // A hold that never came to a floor carries only who asked for what; the rest of its row is the same for all of them.
    if (typeof note === 'object' && note !== null) return { ...NO_NOTE, flags: ['owner_vanished'], held: hold.amount, ...note };
  } catch {
    // Falls through: without its note the charge is still owed, but its reasons are lost.
  }
  return { ...NO_NOTE, held: hold.amount };
}

const NO_NOTE: Partial<ChargeEvent> = {
  model: 'unknown',
  served_model: 'unknown',
  endpoint: 'unknown',
  upstream: 'unknown',
  stream: false,
  http_status: 0,
  held: 0,
  debt: false,
  operator_loss: 0,
  source: 'estimated',
  usage: NO_USAGE,
  price_version: 'unknown',
  breakdown: { lines: [], times: '1' },
  client_request_id: null,
  end_user: null,
  agent: null,
  conversation: null,
  finish_reason: null,
  latency_ms: 0,
  ttft_ms: null,
  flags: ['note_unreadable'],
  attempts: 0,
};
