import { performance } from 'node:perf_hooks';
import type { HoldAnswer } from '../credits/store.js';
import { mayComeFrom } from '../domain/addresses.js';
import { type MicroCredits, ZERO } from '../domain/credits.js';
import { matches } from '../domain/patterns.js';
import { fingerprintOf } from '../domain/secrets.js';
import type { PriceBook } from '../pricing/book.js';
import { estimate } from '../pricing/estimate.js';
import { timesFor } from '../pricing/multiplier.js';
import {
  badRequest,
  duplicateRequest,
  forbidden,
  type GatewayError,
  modelNotFound,
  modelNotPriced,
  refusalError,
  unavailable,
} from './errors.js';
import { namedOf, orphanNote } from './event.js';
import type { Admission, Exchange, GatewayParts, PricedCandidate } from './exchange.js';
import { isLoading, patiently } from './patience.js';
import { addressOf } from './peer.js';

export type Admitted =
  | { readonly kind: 'admitted'; readonly admission: Admission }
  | { readonly kind: 'refused'; readonly error: GatewayError };

/** How often terms may change under one request before it is told to come back. */
const STALE_MAX = 4;

/** Prices the request and sets its credits aside. Repeats with fresh terms when the hold says they have changed. */
export async function admit(parts: GatewayParts, exchange: Exchange): Promise<Admitted> {
  const book = parts.prices();
  for (let round = 0; round < STALE_MAX; round++) {
    const offer = priceFor(parts, exchange, book);
    if (offer.kind === 'refused') return offer;
    const askedMs = performance.now();
    const first = await hold(parts, exchange, offer);
    const held = isLoading(first) ? await patiently(first, () => hold(parts, exchange, offer)) : first;
    parts.tally.held(held.kind, performance.now() - askedMs);
    if (held.kind === 'stale') {
      exchange.caller.token = held.token;
      exchange.caller.org = held.org;
      continue;
    }
    if (held.kind === 'held') {
      const { candidates, note } = offer;
      const { tokenId, orgId } = exchange.caller;
      const { amount, remaining } = held;
      const entry = parts.journal.held({ requestId: exchange.id, orgId, tokenId, amount, floor: ZERO, note });
      // No upstream hears of a request that nobody would remember if we were killed now and the store lost its hold as well.
      await new Promise<void>((go) => parts.journal.afterWrite(go));
      return { kind: 'admitted', admission: { priceVersion: book.version, candidates, amount, remaining, entry } };
    }
    return refused(notHeld(parts, exchange, held));
  }
  return refused(unavailable('The terms of this token are changing right now. Try again.', 'terms_changing'));
}

interface Offer {
  readonly kind: 'offer';
  readonly candidates: readonly PricedCandidate[];
  readonly amount: MicroCredits;
  readonly tokens: number;
  /** What a sweep would book for it. */
  readonly note: string;
}

/** Who could serve it, at what price, and the most it may cost over all of them. */
function priceFor(parts: GatewayParts, exchange: Exchange, book: PriceBook): Offer | Extract<Admitted, { kind: 'refused' }> {
  const { asked, caller } = exchange;
  const { models, ips } = caller.token;
  if (ips !== null && !mayComeFrom(ips, addressOf(exchange.req, parts.trustedProxies))) {
    return refused(forbidden('This token may not be used from your address.', 'ip_not_allowed'));
  }
  if (models && !models.some((pattern) => matches(pattern, asked.model))) {
    return refused(forbidden(`This token may not use the model '${asked.model}'.`, 'model_not_allowed', 'model'));
  }
  const serving = parts.upstreams().pick(asked.model);
  if (serving.length === 0) return refused(modelNotFound(asked.model));
  const candidates = pricedFor(exchange, book, serving);
  if (candidates.length === 0) return refused(modelNotPriced(asked.model));
  let amount = 0;
  let tokens = 0;
  for (const { entry, times } of candidates) {
    const bound = estimate({ entry, times, mode: parts.settings.admission, facts: asked, partBounds: book.partBounds });
    if (bound.kind === 'refused') return refused(badRequest(bound.message, bound.code, bound.param));
    amount = Math.max(amount, bound.amount);
    tokens = Math.max(tokens, bound.inputTokens + bound.outputTokens);
  }
  const note = orphanNote(exchange, { amount, priceVersion: book.version, candidate: candidates[0] });
  return { kind: 'offer', candidates, amount: amount as MicroCredits, tokens, note };
}

type Serving = ReturnType<ReturnType<GatewayParts['upstreams']>['pick']>;

const known = new WeakMap<Serving, Map<string, { readonly book: PriceBook; readonly candidates: readonly PricedCandidate[] }>>();

/** Whoever has no prices of its own pays what its group pays, so that is worked out once per model, group and book. */
function pricedFor({ asked, caller }: Exchange, book: PriceBook, serving: Serving): readonly PricedCandidate[] {
  const { group, prices } = caller.org;
  const ofGroup = known.get(serving) ?? new Map();
  if (prices === null) {
    const before = ofGroup.get(group);
    if (before?.book === book) return before.candidates;
  }
  const candidates: PricedCandidate[] = [];
  for (const candidate of serving) {
    const priced = priceOf(caller, book, asked.model, candidate.servedModel);
    if (!priced) continue;
    const { upstream, servedModel } = candidate;
    candidates.push({
      upstream,
      servedModel,
      entry: priced.entry,
      times: priced.times,
      named: namedOf(servedModel, upstream.settings.name),
    });
  }
  if (prices === null) known.set(serving, ofGroup.set(group, { book, candidates }));
  return candidates;
}

/** The price of the name the client asked for; of the name the upstream knows, when nobody said anything about that one. */
export function priceOf(
  caller: Exchange['caller'],
  book: PriceBook,
  asked: string,
  served: string,
): Pick<PricedCandidate, 'entry' | 'times'> | null {
  const { group, prices } = caller.org;
  const priced = timesFor({ book, group, prices, model: asked });
  if (priced.kind === 'priced') return priced;
  if (asked === served || book.rejects(asked) || (prices && Object.hasOwn(prices, asked))) return null;
  const other = timesFor({ book, group, prices, model: served });
  return other.kind === 'priced' ? other : null;
}

function hold(parts: GatewayParts, exchange: Exchange, offer: Offer): Promise<HoldAnswer> {
  const { caller } = exchange;
  return parts.store.hold({
    requestId: exchange.id,
    tokenId: caller.tokenId,
    orgId: caller.orgId,
    digest: caller.digest,
    tokenVersion: caller.token.version,
    orgVersion: caller.org.version,
    amount: offer.amount,
    tokens: Math.min(offer.tokens, 1_000_000_000),
    leaseMs: parts.settings.leaseMs,
    idempotencyKey: idempotencyKeyOf(exchange),
    note: offer.note,
  });
}

/** Text of the client's is never a key in the store; its digest is. */
function idempotencyKeyOf(exchange: Exchange): string | null {
  const key = exchange.req.headers['idempotency-key'];
  return typeof key === 'string' && key.length > 0 ? fingerprintOf(key) : null;
}

function notHeld(parts: GatewayParts, exchange: Exchange, answer: Exclude<HoldAnswer, { kind: 'held' | 'stale' }>): GatewayError {
  if (answer.kind === 'duplicate') return duplicateRequest(answer.requestId);
  if (answer.kind === 'settled') return unavailable('This request has already ended. Send it again.', 'request_ended');
  if (answer.kind === 'unavailable') {
    parts.metrics.storeErrors.inc({ reason: answer.reason });
    // A hold that seems to have failed may stand all the same, so it is given back by its id.
    if (answer.maybeDone) parts.settlements.giveBack(exchange);
    return unavailable('Credits cannot be checked right now. Nothing was charged. Try again in a moment.');
  }
  if (answer.kind === 'unknown_token') parts.authenticator.forget(exchange.req);
  return refusalError(answer, {
    creditValue: parts.credits.value,
    insufficientQuotaStatus: parts.settings.insufficientQuotaStatus,
    resolveUrl: `${parts.publicUrl}/o/${exchange.caller.orgId}/quota-exceeded?token=${exchange.caller.tokenId}`,
  });
}

const refused = (error: GatewayError): Extract<Admitted, { kind: 'refused' }> => ({ kind: 'refused', error });
