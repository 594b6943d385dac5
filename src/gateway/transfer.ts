import type { Try } from '../domain/charge.js';
import { monotonicMs } from '../domain/clock.js';
import { shardOf } from '../domain/ids.js';
import { type Call, type Failure, forward } from '../upstreams/forward.js';
import { type Answer, creditHeaders } from './answer.js';
import { PlainAnswer } from './answer-plain.js';
import { StreamAnswer } from './answer-stream.js';
import { Attempt, type AttemptOwner } from './attempt.js';
import { type GatewayError, internalError, sendError, unavailable, upstreamError } from './errors.js';
import { traceOf } from './event.js';
import type { AdmittedExchange, GatewayParts, PricedCandidate } from './exchange.js';
import { createLease, type Lease } from './lease.js';
import type { Running } from './open.js';
import { failureError, isRetryable, isTransient, type Rejection, rejectionError } from './rejection.js';
import { upstreamBody } from './request.js';

const RETRY_PAUSE_MS = 100;
const TRIES_MAX = 50;
const LEASE_LOOK_MS = 1_000;

/**
 * Carries one admitted exchange to an upstream and its answer back: attempt after attempt until the first byte, never
 * after it. Owns the hold: whatever happens, `settlements.finish` is called exactly once.
 */
export class Transfer implements Running, AttemptOwner {
  place = -1;
  attempts = 0;
  private readonly parts: GatewayParts;
  private readonly exchange: AdmittedExchange;
  /** Made when the request has lived for a second: most never need one. */
  private lease: Lease | null = null;
  private readonly plan: PricedCandidate[];
  private readonly finished: (ending: string) => void;
  private call: Call | null = null;
  private answer: Answer | null = null;
  private current: PricedCandidate | undefined;
  private sent = false;
  private answered = false;
  private over = false;
  private pausedSinceMs = 0;
  private goneSinceMs = 0;
  /** When the present attempt began; 0 = with the request. */
  private attemptMs = 0;
  /**
   * When the lease is looked at next: once a second, and each request in a moment of its own. All at once they would stop
   * everybody else for as long as thousands of checkpoints take, and fill the nursery with what is all still needed.
   */
  private dueMs: number;

  constructor(parts: GatewayParts, exchange: AdmittedExchange, finished: (ending: string) => void) {
    this.parts = parts;
    this.exchange = exchange;
    this.finished = finished;
    this.plan = planFor(exchange.admission.candidates);
    this.dueMs = exchange.startedMs + LEASE_LOOK_MS;
  }

  start(): void {
    this.safely(() => this.next(upstreamError(502, 'upstream_unreachable', 'No upstream could take the request.')));
  }

  /** For calls nobody stands behind: a mistake of ours must not leave the hold standing and its lease renewed for ever. */
  private safely(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.broke(error);
    }
  }

  /** Tries the next candidate; when there is none, the last reason is the answer. */
  private next(reason: GatewayError): void {
    if (this.over) return;
    if (this.exchange.gone) {
      this.giveUp('cancelled', reason, false);
      return;
    }
    const candidate = this.plan.shift();
    if (!candidate) {
      this.giveUp('failed', reason, false);
      return;
    }
    const { settings, inFlight } = candidate.upstream;
    if (settings.concurrency > 0 && inFlight >= settings.concurrency) {
      this.tried(candidate, { failure: 'busy', ms: 0 });
      this.dropCandidate(candidate);
      this.next(unavailable('Every upstream for this model is busy. Try again in a moment.', 'upstream_busy'));
      return;
    }
    this.attempt(candidate);
  }

  private attempt(candidate: PricedCandidate): void {
    const { exchange } = this;
    const { settings } = candidate.upstream;
    const hideUsage = exchange.asked.stream && !exchange.asked.includeUsage && settings.includeUsage;
    if (this.attempts > 0) this.attemptMs = monotonicMs();
    this.attempts += 1;
    this.current = candidate;
    this.sent = true;
    const renamed = candidate.servedModel === exchange.asked.model ? null : candidate.servedModel;
    const body = upstreamBody(exchange.bytes, { model: renamed, askUsage: hideUsage }, exchange.places);
    this.call = forward(
      candidate.upstream,
      { path: exchange.endpoint.path, method: 'POST', body, headers: clientHeaders(exchange) },
      new Attempt(this, candidate, hideUsage),
    );
  }

  accepted(): void {
    this.answered = true;
  }

  open(attempt: Attempt): Answer {
    const events = String(attempt.headers['content-type'] ?? '').startsWith('text/event-stream');
    const context = {
      parts: this.parts,
      exchange: this.exchange,
      candidate: attempt.candidate,
      httpStatus: attempt.status,
      headers: attempt.headers,
      attempts: this.attempts,
      ttftMs: this.firstByte(),
      hideUsage: attempt.hideUsage,
      transfer: this,
    };
    this.parts.tally.upstreamFirstByte(attempt.candidate.upstream.settings.name, this.attemptTook());
    if (this.exchange.trace?.tries) this.tried(attempt.candidate, { status: attempt.status, ms: this.attemptTook() });
    this.answer = events ? new StreamAnswer(context) : new PlainAnswer(context);
    return this.answer;
  }

  stopUpstream(reason: string): void {
    this.call?.abort(reason);
  }

  broke(error: unknown): void {
    this.parts.log.error({ err: error, request_id: this.exchange.id }, 'an answer could not be handled');
    if (this.over) return;
    try {
      if (this.answer) this.answer.cut(internalError());
      else this.giveUp('failed', internalError(), false);
    } catch (again) {
      this.parts.log.error({ err: again, request_id: this.exchange.id }, 'and it could not be ended in order; its hold will be swept');
      this.exchange.res.destroy();
      this.end('failed');
    }
    this.call?.abort('internal_error');
  }

  /** Only what did not go as usual is kept: one good attempt is told by the row itself. */
  private tried({ upstream }: PricedCandidate, how: Omit<Try, 'upstream'>): void {
    const trace = traceOf(this.exchange);
    trace.tries ??= [];
    if (trace.tries.length < TRIES_MAX) trace.tries.push({ upstream: upstream.settings.name, ...how });
  }

  private attemptTook(): number {
    return Math.max(0, monotonicMs() - (this.attemptMs || this.exchange.startedMs));
  }

  private leased(): Lease {
    this.lease ??= createLease(this.parts, this.exchange);
    return this.lease;
  }

  private firstByte(): number {
    const ms = Math.max(0, monotonicMs() - this.exchange.startedMs);
    this.parts.tally.firstByte(this.exchange.endpoint.path, ms);
    return ms;
  }

  rejected(candidate: PricedCandidate, rejection: Rejection): void {
    const error = rejectionError(rejection, candidate.upstream.settings);
    this.tried(candidate, { status: rejection.status, ms: this.attemptTook() });
    this.parts.log.info(
      { request_id: this.exchange.id, upstream: candidate.upstream.settings.name, status: rejection.status },
      'the upstream refused a request',
    );
    if (!isRetryable(rejection.status)) {
      this.giveUp('failed', error, false);
      return;
    }
    if (!isTransient(rejection.status)) this.dropCandidate(candidate);
    this.retry(candidate, error);
  }

  failed(candidate: PricedCandidate, failure: Failure): void {
    const { log } = this.parts;
    this.tried(candidate, { failure: failure.kind, ms: this.attemptTook() });
    log.info(
      { request_id: this.exchange.id, upstream: candidate.upstream.settings.name, kind: failure.kind, detail: failure.detail },
      'no answer',
    );
    if (failure.kind === 'aborted') {
      // A stream's input is owed once it was sent, unless the upstream answered with an error.
      this.giveUp('cancelled', failureError(failure), failure.sent);
      return;
    }
    if (failure.kind === 'timeout_first_byte' || failure.kind === 'timeout_idle') this.dropCandidate(candidate);
    this.retry(candidate, failureError(failure));
  }

  private retry(last: PricedCandidate, reason: GatewayError): void {
    if (this.plan[0] !== last) this.next(reason);
    else setTimeout(() => this.safely(() => this.next(reason)), RETRY_PAUSE_MS * (0.5 + Math.random()));
  }

  private dropCandidate(candidate: PricedCandidate): void {
    while (this.plan[0] === candidate) this.plan.shift();
  }

  /** The end without an answer. */
  private giveUp(status: 'failed' | 'cancelled', error: GatewayError, owed: boolean): void {
    if (this.over) return;
    const cost = this.parts.settlements.finish(this.exchange, {
      status,
      candidate: this.current,
      httpStatus: error.status,
      attempts: this.attempts,
      ttftMs: null,
      finishReason: null,
      whole: false,
      owed,
      reported: undefined,
      stream: this.exchange.asked.stream,
      delivered: [],
      uncountedEvents: 0,
      flags: [error.code],
    });
    if (!this.exchange.gone) sendError(this.exchange.res, error, this.exchange.id, creditHeaders(this.exchange, cost));
    this.end(status);
  }

  end(ending: string): void {
    if (this.over) return;
    this.over = true;
    this.lease?.end();
    this.finished(ending);
  }

  done(candidate: PricedCandidate, outcome: string, status: number): void {
    this.parts.tally.upstream(candidate.upstream.settings.name, outcome, status);
  }

  flow(more: boolean): boolean {
    if (!more && this.pausedSinceMs === 0) {
      this.pausedSinceMs = monotonicMs();
      this.exchange.res.once('drain', () => this.resume());
    }
    return more;
  }

  private resume(): void {
    this.pausedSinceMs = 0;
    this.call?.resume();
  }

  /** The client closed its connection. A stream ends here; a plain call runs on, because the provider will bill it whole. */
  clientGone(): void {
    if (this.over) return;
    this.exchange.gone = true;
    const runOn = !this.exchange.asked.stream && this.parts.open.mayFinish();
    this.goneSinceMs = monotonicMs();
    if (runOn) this.resume();
    else this.call?.abort('client_gone');
  }

  restore(lost: ReadonlySet<string>): void {
    if (!this.over && lost.has(shardOf(this.exchange.caller.orgId))) this.leased().restore(this.answered);
  }

  held(): number {
    return this.exchange.admission.amount;
  }

  isAbandoned(): boolean {
    return this.goneSinceMs > 0;
  }

  cut(error: GatewayError): void {
    if (this.over) return;
    if (this.answer) this.answer.cut(error);
    else {
      this.giveUp('failed', error, false);
      this.call?.abort(error.code);
    }
  }

  tick(nowMs: number): void {
    // Ten times a second for every stream: not even a closure.
    try {
      this.look(nowMs);
    } catch (error) {
      this.broke(error);
    }
  }

  private look(nowMs: number): void {
    const { settings } = this.parts;
    const totalMs = this.current?.upstream.settings.timeouts.totalMs ?? 0;
    if (totalMs > 0 && nowMs - this.exchange.startedMs > totalMs) {
      this.cut(upstreamError(504, 'upstream_timeout', 'The upstream did not finish in the time the operator allows.'));
    } else if (this.pausedSinceMs > 0 && nowMs - this.pausedSinceMs > settings.writeStallMs) {
      this.exchange.res.destroy();
    } else if (this.goneSinceMs > 0 && nowMs - this.goneSinceMs > settings.backgroundFinishMs) {
      this.call?.abort('background_time_over');
    } else {
      if (nowMs < this.dueMs) return;
      this.dueMs = nowMs + LEASE_LOOK_MS;
      this.leased().tick(nowMs, {
        answered: this.answered,
        events: this.answer?.eventsDelivered() ?? 0,
        candidate: this.current,
        cut: (error) => this.cut(error),
      });
    }
  }
}

/** Each candidate as often as it may be tried, in order. */
function planFor(candidates: readonly PricedCandidate[]): PricedCandidate[] {
  const plan: PricedCandidate[] = [];
  for (const candidate of candidates) for (let i = 0; i <= candidate.upstream.settings.retries; i++) plan.push(candidate);
  return plan;
}

/** Allow-listed headers of the client; everything else, its credentials first of all, stays here. */
function clientHeaders(exchange: AdmittedExchange): string[] {
  const headers = ['x-client-request-id', exchange.id];
  const beta = exchange.req.headers['openai-beta'];
  if (typeof beta === 'string' && beta.length <= 200) headers.push('openai-beta', beta);
  return headers;
}
