import type { IncomingHttpHeaders } from 'node:http';
import type { Failure, Sink } from '../upstreams/forward.js';
import type { Answer } from './answer.js';
import type { PricedCandidate } from './exchange.js';
import type { Rejection } from './rejection.js';

/** What an attempt tells the transfer it belongs to. */
export interface AttemptOwner {
  /** The upstream said 2xx. */
  accepted(): void;
  /** The first byte of a good answer: from here on there is no other attempt. */
  open(attempt: Attempt): Answer;
  flow(more: boolean): boolean;
  /** `status`: what the upstream said, 0 when it said nothing. */
  done(candidate: PricedCandidate, outcome: string, status: number): void;
  rejected(candidate: PricedCandidate, rejection: Rejection): void;
  failed(candidate: PricedCandidate, failure: Failure): void;
  /** A mistake of ours: it must not leave its client waiting and its hold standing. */
  broke(error: unknown): void;
}

const REJECTION_BYTES_MAX = 64 * 1024;

/** One try at one upstream: good from its first body byte on, or a reason to try the next. */
export class Attempt implements Sink {
  readonly candidate: PricedCandidate;
  readonly hideUsage: boolean;
  status = 0;
  headers: IncomingHttpHeaders = {};
  private readonly owner: AttemptOwner;
  private answer: Answer | null = null;
  private refusal: Buffer[] | null = null;
  private refusalBytes = 0;

  constructor(owner: AttemptOwner, candidate: PricedCandidate, hideUsage: boolean) {
    this.owner = owner;
    this.candidate = candidate;
    this.hideUsage = hideUsage;
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.status = status;
    this.headers = headers;
    if (status < 300) this.owner.accepted();
  }

  onData(chunk: Buffer): boolean {
    if (this.status >= 300) return this.keep(chunk);
    try {
      return this.owner.flow(this.begun().data(chunk));
    } catch (error) {
      this.owner.broke(error);
      return true;
    }
  }

  onEnd(): void {
    try {
      this.owner.done(this.candidate, this.status < 300 ? 'answered' : `status_${Math.floor(this.status / 100)}xx`, this.status);
      if (this.status < 300) this.begun().end();
      else this.reject();
    } catch (error) {
      this.owner.broke(error);
    }
  }

  onFailure(failure: Failure): void {
    try {
      this.owner.done(this.candidate, failure.kind, this.status);
      if (this.answer) this.answer.fail(failure);
      else if (this.status >= 300) this.reject();
      else this.owner.failed(this.candidate, failure);
    } catch (error) {
      this.owner.broke(error);
    }
  }

  private begun(): Answer {
    this.answer ??= this.owner.open(this);
    return this.answer;
  }

  private keep(chunk: Buffer): boolean {
    this.refusalBytes += chunk.length;
    this.refusal ??= [];
    if (this.refusalBytes <= REJECTION_BYTES_MAX) this.refusal.push(chunk);
    return true;
  }

  private reject(): void {
    const body = Buffer.concat(this.refusal ?? []);
    this.owner.rejected(this.candidate, { status: this.status, headers: this.headers, body });
  }
}
