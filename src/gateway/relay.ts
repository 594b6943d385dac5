import type { IncomingMessage, ServerResponse } from 'node:http';
import { monotonicMs } from '../domain/clock.js';
import { newRequestId, type RequestId } from '../domain/ids.js';
import { admit } from './admit.js';
import type { Caller } from './authenticate.js';
import { readBody } from './body.js';
import type { Endpoint } from './endpoints.js';
import { badRequest, type GatewayError, internalError, sendError, unavailable } from './errors.js';
import { traceOf } from './event.js';
import type { AdmittedExchange, Exchange, GatewayParts } from './exchange.js';
import { parseBody } from './parse.js';
import { Transfer } from './transfer.js';

/**
 * The whole hot path, as a story: who asks, what for, what may it cost, is it there — then forward, meter and settle.
 * Until the hold stands nothing is owed; from then on the transfer owns it and settles it exactly once.
 */
export async function relay(parts: GatewayParts, endpoint: Endpoint, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const id = newRequestId();
  try {
    const exchange = await prepare(parts, endpoint, req, res, id);
    if (exchange) transfer(parts, exchange);
  } catch (error) {
    parts.log.error({ err: error, request_id: id }, 'a request failed');
    sendError(res, internalError(), id);
  }
}

async function prepare(
  parts: GatewayParts,
  endpoint: Endpoint,
  req: IncomingMessage,
  res: ServerResponse,
  id: RequestId,
): Promise<AdmittedExchange | null> {
  const refuse = (error: GatewayError, caller?: Caller, exchange?: Exchange): null => {
    parts.metrics.refusals.inc({ code: error.code });
    if (caller) parts.refusals.note(exchange ?? { id, req, endpoint, caller, startedMs: monotonicMs(), asked: null }, error);
    sendError(res, error, id, { 'x-credits-charged': '0' });
    return null;
  };
  if (parts.open.size >= parts.settings.requestsMax)
    return refuse(unavailable('The gateway is at its limit. Try again in a moment.', 'overloaded'));

  if (!parts.journal.writable)
    return refuse(unavailable('The gateway cannot write its journal right now. Try again in a moment.', 'journal_full'));

  // Answers that are there already are not waited for: each wait is a turn of the microtask queue.
  const who = parts.authenticator.identify(req);
  const identified = who instanceof Promise ? await who : who;
  if (identified.kind === 'unavailable') return refuse(unavailable('Tokens cannot be checked right now. Try again in a moment.'));
  if (identified.kind === 'refused') return refuse(identified.error);

  const read = await readBody(req, parts.settings.bodyBytesMax);
  if (read.kind === 'gone') return null;
  if (read.kind === 'refused') return refuse(read.error, identified.caller);

  const startedMs = monotonicMs();
  const reading = parseBody(endpoint.kind, read.bytes, parts.settings.bodyDepthMax);
  const parsed = reading instanceof Promise ? await reading : reading;
  if (parsed.kind === 'busy')
    return refuse(unavailable('Too many large requests are being read right now. Try again in a moment.', 'overloaded'));
  if (parsed.kind === 'bad') return refuse(badRequest(parsed.message, parsed.code, parsed.param), identified.caller);

  const { asked, places } = parsed;
  const exchange: Exchange = {
    id,
    req,
    res,
    endpoint,
    startedMs,
    caller: identified.caller,
    asked,
    bytes: read.bytes,
    places,
    gone: res.destroyed,
    who: null,
    trace: null,
    admission: null,
  };
  const admitted = await admit(parts, exchange);
  if (admitted.kind === 'refused') return refuse(admitted.error, identified.caller, exchange);
  exchange.gone = res.destroyed;
  exchange.admission = admitted.admission;
  return exchange as AdmittedExchange;
}

/** Longer than this, somebody will want to know where the time went. */
const SLOW_HOLD_MS = 1_000;

function transfer(parts: GatewayParts, exchange: AdmittedExchange): void {
  const { endpoint, res, startedMs } = exchange;
  const running = new Transfer(parts, exchange, (ending) => {
    parts.open.remove(running);
    parts.tally.ended({ endpoint: endpoint.path, status: res.statusCode, ending, ms: monotonicMs() - startedMs });
  });
  parts.open.add(running);
  const heldMs = monotonicMs() - startedMs;
  parts.tally.overhead(endpoint.path, heldMs);
  if (heldMs >= SLOW_HOLD_MS) traceOf(exchange).held_ms = heldMs;
  res.on('close', () => {
    if (!res.writableFinished) running.clientGone();
  });
  running.start();
}
