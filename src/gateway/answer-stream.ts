import type { RequestStatus } from '../domain/charge.js';
import type { MicroCredits } from '../domain/credits.js';
import type { Failure } from '../upstreams/forward.js';
import { type Answer, type AnswerContext, answerHeaders, creditHeaders } from './answer.js';
import { ChunkWriter } from './chunks.js';
import { errorFrame, type GatewayError, sendError, upstreamError } from './errors.js';
import { StreamMeter } from './meter.js';

/** A stream of events on its way to the client, byte for byte, metered as it goes. */
export class StreamAnswer implements Answer {
  private readonly context: AnswerContext;
  private readonly meter: StreamMeter;
  /** Once there was something to say. */
  private out: ChunkWriter | null = null;
  private over = false;

  constructor(context: AnswerContext) {
    this.context = context;
    this.meter = new StreamMeter({ hideUsage: context.hideUsage, keepBytesMax: context.parts.settings.retainedOutputBytesMax });
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
    this.context.transfer.stopUpstream(error.code);
  }

  eventsDelivered(): number {
    return this.meter.eventsDelivered();
  }

  private fault(code: string, message: string, status: 502 | 504 = 502): void {
    const owed = this.isOwed() ? 'You were charged for what was delivered.' : 'Nothing was charged.';
    this.cut(upstreamError(status, code, `${message} ${owed}`));
  }

  /** A failure before the first event is no answer, and is not paid for: nothing was delivered. */
  private isOwed(): boolean {
    return this.meter.eventsDelivered() > 0;
  }

  /** A failed stream ends with an error event and no `[DONE]`; half an event before it must not swallow it. */
  private close(error: GatewayError): void {
    const { exchange } = this.context;
    const { res, gone, id } = exchange;
    const status = this.isOwed() ? 'partial' : 'failed';
    const cost = this.settle(status, [error.code]);
    if (!this.out) sendError(res, error, id, creditHeaders(exchange, cost));
    else if (!gone) this.out.end(Buffer.from(`${this.meter.endsOpen() ? '\n\n' : ''}${errorFrame(error, id)}`));
    this.context.transfer.end(status);
  }

  private finish(status: RequestStatus, last: Buffer | null): void {
    this.settle(status, []);
    const { parts, exchange } = this.context;
    if (!exchange.gone) {
      const out = this.begin();
      parts.journal.afterWrite(() => out.end(last ?? NOTHING));
    }
    this.context.transfer.end(status);
  }

  private write(bytes: Buffer | null): boolean {
    const { res, gone } = this.context.exchange;
    if (!bytes || gone) return true;
    if (this.out) return this.out.write(bytes);
    const more = this.begin().write(bytes);
    // Node would keep it until everything that was read is metered: the first words are what is waited for.
    res.socket?.uncork();
    return more;
  }

  /** Not before there is something to say: until then a failure can still be an ordinary error answer. */
  private begin(): ChunkWriter {
    if (this.out) return this.out;
    const { context } = this;
    const { res } = context.exchange;
    const headers = answerHeaders(context, null);
    headers.push('cache-control', 'no-cache', 'x-accel-buffering', 'no');
    res.writeHead(context.httpStatus, headers);
    this.out = new ChunkWriter(res);
    return this.out;
  }

  private settle(status: RequestStatus, flags: readonly string[]): MicroCredits | null {
    this.over = true;
    const { context, meter } = this;
    return context.parts.settlements.finish(context.exchange, {
      status,
      candidate: context.candidate,
      httpStatus: context.httpStatus,
      attempts: context.attempts,
      ttftMs: context.ttftMs,
      finishReason: meter.lastFinishReason(),
      whole: status === 'complete',
      owed: status !== 'failed',
      reported: meter.usage(),
      stream: true,
      delivered: meter.delivered(),
      uncountedEvents: meter.uncountedEvents(),
      flags: meter.overflowed ? [...flags, 'retention_exceeded'] : flags,
    });
  }
}

const NOTHING = Buffer.alloc(0);
const DONE = Buffer.from('[DONE]');

function endsWithDone(bytes: Buffer): boolean {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] ?? 0) <= 0x20) end -= 1;
  return end >= DONE.length && bytes[end - 1] === 0x5d && bytes.subarray(end - DONE.length, end).equals(DONE);
}
