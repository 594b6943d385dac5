import { type Breakdown, NO_USAGE, textUsage, type Usage } from '../domain/charge.js';
import { monotonicMs } from '../domain/clock.js';
import { type MicroCredits, ZERO } from '../domain/credits.js';
import { charge } from '../pricing/charge.js';
import type { GatewayError } from './errors.js';
import { orphanNote, traceOf } from './event.js';
import type { AdmittedExchange, GatewayParts, PricedCandidate } from './exchange.js';
import type { HeldLine } from './journal-lines.js';

/** Keeps a running request's hold alive, raises its floor, and asks for more when it outgrows what was set aside. */
export interface Lease {
  tick(nowMs: number, progress: LeaseProgress): void;
  /** Puts the hold back into a store that lost it. */
  restore(answered: boolean): void;
  end(): void;
}

export interface LeaseProgress {
  /** The upstream said 200: from here on the input is owed. */
  readonly answered: boolean;
  /** Streamed events so far: about one output token each. */
  readonly events: number;
  readonly candidate: PricedCandidate | undefined;
  cut(error: GatewayError): void;
}

/** A guess on the low side, until a long request's input is counted: a floor must never be more than what is owed. */
const BYTES_PER_TOKEN = 8;
const CHECKPOINT_EVERY_MS = 1_000;
/** A stream asks for more when it has used this share of its hold, so that the answer is there before it runs out. */
const OUTGROWN = 0.75;
/** Each makes a hold half as large again, so nobody ever comes near this. */
const EXTENSIONS_MAX = 50;

export function createLease(parts: GatewayParts, exchange: AdmittedExchange): Lease {
  return new RunningLease(parts, exchange);
}

/** What would be owed if this process died now, with all that a row says of it. */
interface Floor {
  readonly cost: MicroCredits;
  readonly usage: Usage;
  readonly breakdown: Breakdown;
  readonly httpStatus: number;
}

/** How far the answer was when its floor was last raised. Of each stream, what is kept for a second fills the old generation: numbers only. */
interface Reached {
  events: number;
  inputTokens: number;
  isAnswered: boolean;
  candidate: PricedCandidate;
}

class RunningLease implements Lease {
  private readonly parts: GatewayParts;
  private readonly exchange: AdmittedExchange;
  private readonly ids: Pick<HeldLine, 'requestId' | 'orgId' | 'tokenId'>;
  private reached: Reached | null = null;
  private extendedMs: number;
  private checkpointMs: number;
  private over = false;
  private isAnswered = false;
  private inputCounted = false;
  private inputTokens: number;

  constructor(parts: GatewayParts, exchange: AdmittedExchange) {
    const { caller, asked, startedMs } = exchange;
    this.parts = parts;
    this.exchange = exchange;
    this.ids = { requestId: exchange.id, orgId: caller.orgId, tokenId: caller.tokenId };
    this.extendedMs = startedMs;
    this.checkpointMs = startedMs;
    this.inputTokens = Math.floor(asked.textBytes / BYTES_PER_TOKEN);
  }

  end(): void {
    this.over = true;
  }

  tick(nowMs: number, progress: LeaseProgress): void {
    const { candidate } = progress;
    if (this.over || !candidate) return;
    this.isAnswered = progress.answered;
    if (nowMs - this.extendedMs >= this.parts.settings.heartbeatMs) {
      this.extendedMs = nowMs;
      this.extend(progress, candidate).catch((error) => this.complain(error, 'a lease was not renewed'));
    }
    if (this.isAnswered && nowMs - this.checkpointMs >= CHECKPOINT_EVERY_MS) {
      this.checkpointMs = nowMs;
      const floor = this.raiseFloor(progress.events, candidate);
      const { requestId, orgId, tokenId } = this.ids;
      const { amount, entry } = this.exchange.admission;
      this.parts.journal.held({ requestId, orgId, tokenId, amount, floor: floor.cost, note: this.note(amount, floor) }, entry);
    }
  }

  restore(answered: boolean): void {
    this.isAnswered = answered;
    this.rehold().catch((error) => this.complain(error, 'a hold was not put back'));
  }

  private raiseFloor(events: number, candidate: PricedCandidate): Floor {
    this.reached ??= { events: 0, inputTokens: 0, isAnswered: false, candidate };
    this.reached.events = events;
    this.reached.inputTokens = this.inputTokens;
    this.reached.isAnswered = this.isAnswered;
    this.reached.candidate = candidate;
    return floorOf(this.reached);
  }

  /** The row that somebody else can book. */
  private note(amount: MicroCredits, floor: Floor | undefined): string {
    const { candidates, priceVersion } = this.exchange.admission;
    return orphanNote(this.exchange, { amount, priceVersion, candidate: this.reached?.candidate ?? candidates[0], floor });
  }

  private async extend(progress: LeaseProgress, candidate: PricedCandidate): Promise<void> {
    const { exchange, parts } = this;
    if (!this.inputCounted) {
      this.inputCounted = true;
      await this.countInput(candidate.servedModel).catch(() => undefined); // the guess stays
    }
    if (this.over) return;
    const floor = this.raiseFloor(progress.events, candidate);
    const amount = amountWanted(parts, exchange, progress, floor.cost);
    const { leaseMs, onExhaustion } = parts.settings;
    const answer = await parts.store.extend({ ...this.ids, amount, floor: floor.cost, leaseMs, note: this.note(amount, floor) });
    if (answer.kind === 'extended') this.extended(answer.amount);
    if (answer.kind === 'gone') await this.rehold();
    const exhausted = answer.kind === 'short' && floor.cost >= exchange.admission.amount;
    if (!this.over && exhausted && onExhaustion === 'cut') progress.cut(outOfCredits());
  }

  private extended(amount: MicroCredits): void {
    const { admission, startedMs } = this.exchange;
    if (amount > admission.amount) {
      const trace = traceOf(this.exchange);
      trace.extended ??= [];
      if (trace.extended.length < EXTENSIONS_MAX) trace.extended.push({ ms: Math.max(0, monotonicMs() - startedMs), amount });
    }
    admission.amount = amount;
  }

  /** Swept while we were frozen, or lost with the store; the request runs, so its hold has to stand. */
  private async rehold(): Promise<void> {
    if (this.over) return;
    const { amount } = this.exchange.admission;
    const { leaseMs } = this.parts.settings;
    const floor = this.reached ? floorOf(this.reached) : undefined;
    await this.parts.store.rehold({ ...this.ids, amount, floor: floor?.cost ?? ZERO, leaseMs, note: this.note(amount, floor) });
  }

  private async countInput(model: string): Promise<void> {
    const { endpoint, bytes, asked } = this.exchange;
    const job = { endpoint: endpoint.kind, model, request: bytes, response: [], stream: asked.stream };
    this.inputTokens = (await this.parts.counter.count(job)).input;
  }

  private complain(error: unknown, words: string): void {
    this.parts.log.warn({ err: error, request_id: this.exchange.id }, words);
  }
}

function floorOf({ events, inputTokens, isAnswered, candidate: { entry, times } }: Reached): Floor {
  const usage = isAnswered ? textUsage(inputTokens, events) : NO_USAGE;
  const { cost, breakdown } = charge({ entry, times, usage });
  return { cost, usage, breakdown, httpStatus: isAnswered ? 200 : 0 };
}

/** The hold as it is while it suffices; half as much again, and never less than the floor, when it does not. */
function amountWanted(parts: GatewayParts, exchange: AdmittedExchange, progress: LeaseProgress, floor: MicroCredits): MicroCredits {
  const { amount } = exchange.admission;
  if (parts.settings.admission === 'strict' || progress.events === 0 || floor < amount * OUTGROWN) return amount;
  return Math.max(Math.ceil(amount * 1.5), floor) as MicroCredits;
}

const outOfCredits = (): GatewayError => ({
  status: 402,
  type: 'insufficient_quota',
  code: 'insufficient_quota',
  message: 'The credits ran out while this answer was being written. You were charged for what was delivered.',
});
