import type { RequestStatus } from '../domain/charge.js';
import { formatCredits } from '../domain/credits.js';
import type { Failure } from '../upstreams/forward.js';
import { type Answer, type AnswerContext, answerHeaders, remainingAfter } from './answer.js';
import { errorFrame, type GatewayError, upstreamError } from './errors.js';
import { StreamMeter } from './meter.js';

/** A stream of events on its way to the client, byte for byte, metered as it goes. */
export class StreamAnswer implements Answer {
  private readonly context: AnswerContext;
  private readonly meter: StreamMeter;
  private over = false;

  constructor(context: AnswerContext) {
    this.context = context;
    this.meter = new StreamMeter({ hideUsage: context.hideUsage, keepBytesMax: context.parts.settings.retainedOutputBytesMax });
    const { exchange } = context;
    const headers = answerHeaders(context);
    headers['cache-control'] = 'no-cache';
    headers['x-accel-buffering'] = 'no';
    headers['x-credits-remaining'] = formatCredits(remainingAfter(exchange, exchange.admission.amount));
    if (!exchange.gone) exchange.res.writeHead(context.httpStatus, headers);
  }

  data(chunk: Buffer): boolean {
    if (this.over) return true;
    const passed = this.meter.push(chunk);
    if (passed.failed) {
      this.write(passed.out);
      this.fault('upstream_error', 'The upstream reported an error and stopped.');
      return true;
    }
    // `[DONE]` is the end by definition: settle first, then let the client see it.
    if (passed.out && endsWithDone(passed.out)) {
      this.finish('complete', passed.out);
      return true;
    }
    return this.write(passed.out);
  }

  end(): void {
    if (this.over) return;
    const passed = this.meter.finish();
    if (passed.failed) {
      this.write(passed.out);
      this.fault('upstream_error', 'The upstream reported an error and stopped.');
    } else if (this.meter.sawDone() || this.meter.finishReasons().size >= this.context.exchange.asked.choices)
      this.finish('complete', passed.out);
    else {
      this.write(passed.out);
      this.fault('upstream_truncated', 'The upstream closed the stream before it was complete.');
    }
  }

  fail(failure: Failure): void {
    if (this.over) return;
    if (this.context.exchange.gone) this.finish('cancelled', null);
    else if (failure.kind === 'timeout_idle') this.fault('upstream_timeout', 'The upstream went silent and was given up.', 504);
    else this.fault('upstream_disconnected', 'The upstream broke off in the middle of its answer.');
  }

  cut(error: GatewayError): void {
    if (this.over) return;
    this.close(error);
    this.context.stopUpstream(error.code);
  }

  eventsDelivered(): number {
    return this.meter.eventsDelivered();
  }

  private fault(code: string, message: string, status: 502 | 504 = 502): void {
    this.cut(upstreamError(status, code, `${message} You were charged for what was delivered.`));
  }

  /** A failed stream ends with an error event and no `[DONE]`; half an event before it must not swallow it. */
  private close(error: GatewayError): void {
    const { exchange } = this.context;
    this.settle('partial', [error.code]);
    if (!exchange.gone) exchange.res.end(`${this.meter.endsOpen() ? '\n\n' : ''}${errorFrame(error, exchange.id)}`);
    this.context.over('partial');
  }

  private finish(status: RequestStatus, last: Buffer | null): void {
    this.settle(status, []);
    const { res, gone } = this.context.exchange;
    if (!gone) {
      if (last) res.end(last);
      else res.end();
    }
    this.context.over(status);
  }

  private write(bytes: Buffer | null): boolean {
    const { res, gone } = this.context.exchange;
    return bytes && !gone ? res.write(bytes) : true;
  }

  private settle(status: RequestStatus, flags: readonly string[]): void {
    this.over = true;
    const { context, meter } = this;
    const reasons = [...meter.finishReasons().values()];
    context.parts.settlements.finish(context.exchange, {
      status,
      candidate: context.candidate,
      httpStatus: context.httpStatus,
      attempts: context.attempts,
      ttftMs: context.ttftMs,
      finishReason: reasons.at(-1) ?? null,
      owed: true,
      reported: meter.usage(),
      stream: true,
      delivered: meter.kept,
      uncountedEvents: meter.uncountedEvents(),
      flags: meter.overflowed ? [...flags, 'retention_exceeded'] : flags,
    });
  }
}

const DONE = Buffer.from('[DONE]');

function endsWithDone(bytes: Buffer): boolean {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] ?? 0) <= 0x20) end -= 1;
  return end >= DONE.length && bytes[end - 1] === 0x5d && bytes.subarray(end - DONE.length, end).equals(DONE);
}
