import type { RequestStatus } from '../domain/charge.js';
import type { Failure } from '../upstreams/forward.js';
import { type Answer, type AnswerContext, answerHeaders, creditHeaders } from './answer.js';
import { type GatewayError, sendError, upstreamError } from './errors.js';
import { outermost } from './json.js';
import { lastFinishReason, lastUsage } from './meter.js';
import { finderOf } from './search.js';

/** A JSON answer: held back whole so that its charge can precede it, or passed through when it is too large for that. */
export class PlainAnswer implements Answer {
  private readonly context: AnswerContext;
  private readonly kept: Buffer[] = [];
  private bytes = 0;
  private unkeptBytes = 0;
  private tail: Buffer = EMPTY;
  private streaming = false;
  private over = false;

  constructor(context: AnswerContext) {
    this.context = context;
  }

  data(chunk: Buffer): boolean {
    if (this.over) return true;
    this.bytes += chunk.length;
    if (this.streaming) {
      this.keep(chunk);
      return this.passOn(chunk);
    }
    this.kept.push(chunk);
    if (this.bytes <= this.context.parts.settings.bufferedResponseBytesMax) return true;
    const head = Buffer.concat(this.kept);
    if (!isOtherThanJson(head)) return this.startStreaming(head);
    this.refuse(NOT_JSON, false);
    this.context.transfer.stopUpstream(NOT_JSON.code);
    return true;
  }

  end(): void {
    if (this.over) return;
    const body = this.whole();
    const problem = this.streaming ? null : problemWith(body);
    if (problem) {
      this.refuse(problem, false);
      return;
    }
    const cost = this.settle(this.context.exchange.gone ? 'cancelled' : 'complete', body, { whole: true });
    this.deliver(body, cost);
    this.context.transfer.end(this.context.exchange.gone ? 'cancelled' : 'complete');
  }

  fail(failure: Failure): void {
    if (this.over) return;
    if (failure.kind === 'timeout_idle')
      this.refuse(upstreamError(504, 'upstream_timeout', 'The upstream went silent in the middle of its answer.'), true);
    else this.refuse(upstreamError(502, 'upstream_disconnected', 'The upstream broke off in the middle of its answer.'), true);
  }

  cut(error: GatewayError): void {
    if (this.over) return;
    this.refuse(error, true);
    this.context.transfer.stopUpstream(error.code);
  }

  eventsDelivered(): number {
    return 0;
  }

  /** Too large to hold back: what is here goes out, the rest as it comes. It is kept within a bound, should we have to count. */
  private startStreaming(head: Buffer): boolean {
    const { exchange, httpStatus, headers } = this.context;
    this.streaming = true;
    const out = answerHeaders(this.context, null);
    const length = headers['content-length'];
    if (length && headers['content-encoding'] === undefined) out.push('content-length', length);
    if (!exchange.gone) exchange.res.writeHead(httpStatus, out);
    return this.passOn(head);
  }

  private keep(chunk: Buffer): void {
    if (this.unkeptBytes === 0 && this.bytes <= this.context.parts.settings.retainedOutputBytesMax) this.kept.push(chunk);
    else this.unkeptBytes += chunk.length;
  }

  private passOn(chunk: Buffer): boolean {
    this.tail = chunk.length >= TAIL_BYTES ? chunk.subarray(-TAIL_BYTES) : Buffer.concat([this.tail, chunk]).subarray(-TAIL_BYTES);
    const { res, gone } = this.context.exchange;
    return gone ? true : res.write(chunk);
  }

  private whole(): Buffer {
    const [first] = this.kept;
    if (this.streaming) return this.tail;
    return this.kept.length === 1 && first ? first : Buffer.concat(this.kept);
  }

  private deliver(body: Buffer, cost: number | null): void {
    const { exchange, parts } = this.context;
    if (exchange.gone) return;
    if (this.streaming) {
      parts.journal.afterWrite(() => exchange.res.end());
      return;
    }
    const headers = answerHeaders(this.context, cost);
    headers.push('content-length', String(body.length));
    exchange.res.writeHead(this.context.httpStatus, headers);
    parts.journal.afterWrite(() => exchange.res.end(body));
  }

  /** No answer at all is not paid for; one that was cut is, as far as it came. */
  private refuse(error: GatewayError, cutShort: boolean): void {
    const { exchange } = this.context;
    const status = exchange.gone ? 'cancelled' : cutShort ? 'partial' : 'failed';
    const cost = this.settle(status, this.whole(), { flag: error.code, owed: cutShort });
    if (this.streaming) exchange.res.destroy();
    else sendError(exchange.res, error, exchange.id, creditHeaders(exchange, cost));
    this.context.transfer.end(cutShort ? 'partial' : 'failed');
  }

  private settle(status: RequestStatus, body: Buffer, how: { whole?: boolean; owed?: boolean; flag?: string }): number | null {
    const { whole = false, owed = true, flag } = how;
    this.over = true;
    const { context } = this;
    return context.parts.settlements.finish(context.exchange, {
      status,
      candidate: context.candidate,
      httpStatus: context.httpStatus,
      attempts: context.attempts,
      ttftMs: null,
      finishReason: lastFinishReason(body),
      whole,
      owed,
      reported: owed ? lastUsage(body) : undefined,
      stream: false,
      delivered: this.streaming ? this.kept : [body],
      uncountedEvents: Math.ceil(this.unkeptBytes / BYTES_PER_TOKEN),
      flags: flag ? [flag] : [],
    });
  }
}

const EMPTY = Buffer.alloc(0);
const findError = finderOf('"error"');
const TAIL_BYTES = 64 * 1024;
/** For what was not kept. */
const BYTES_PER_TOKEN = 4;

const NOT_JSON = upstreamError(502, 'upstream_bad_response', 'The upstream answered with something that is not JSON. Nothing was charged.');

function startOf(body: Buffer): number {
  let at = 0;
  for (; at < body.length; at++) {
    const byte = body[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
  }
  return at;
}

/** Some upstreams send spaces so that nobody gives up; not as many. */
const SPACES_MAX = 64 * 1024;

function isOtherThanJson(body: Buffer): boolean {
  const at = startOf(body);
  return at < body.length ? body[at] !== 0x7b : at > SPACES_MAX;
}

/** An empty page, an HTML page or an error object inside a 200 is no answer. */
function problemWith(body: Buffer): GatewayError | null {
  if (body.length === startOf(body) || isOtherThanJson(body)) return NOT_JSON;
  if (findError(body, 0) < 0) return null;
  if (body.length > PARSED_BYTES_MAX) {
    const [error, choices, data] = outermost(body, LOOKED_FOR);
    return error && !choices && !data ? REPORTED : null;
  }
  try {
    const parsed = JSON.parse(body.toString('utf8')) as Record<string, unknown>;
    const isThere = (name: string): boolean => parsed[name] !== undefined && parsed[name] !== null;
    return isThere('error') && !isThere('choices') && !isThere('data') ? REPORTED : null;
  } catch {
    return upstreamError(502, 'upstream_bad_response', 'The upstream answered with JSON that cannot be read. Nothing was charged.');
  }
}

/** To read a megabyte of the worst JSON takes longer than anybody may be kept waiting. */
const PARSED_BYTES_MAX = 64 * 1024;
const LOOKED_FOR = ['error', 'choices', 'data'].map((name) => Buffer.from(name));
const REPORTED = upstreamError(502, 'upstream_error', 'The upstream reported an error. Nothing was charged.');
