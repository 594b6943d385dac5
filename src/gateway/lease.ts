import { type MicroCredits, ZERO } from '../domain/credits.js';
import { charge } from '../pricing/charge.js';
import { NO_USAGE } from '../upstreams/usage.js';
import type { GatewayError } from './errors.js';
import { orphanNote } from './event.js';
import type { AdmittedExchange, GatewayParts, PricedCandidate } from './exchange.js';

/** Keeps a running request's hold alive, raises its floor, and asks for more when it outgrows what was set aside. */
export interface Lease {
  /** The upstream said 200: from here on the input is owed. */
  answered(): void;
  tick(nowMs: number, progress: LeaseProgress): void;
  /** Puts the hold back into a store that lost it. */
  restore(): void;
  end(): void;
}

export interface LeaseProgress {
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

export function createLease(parts: GatewayParts, exchange: AdmittedExchange): Lease {
  const { admission, caller } = exchange;
  const ids = { requestId: exchange.id, orgId: caller.orgId, tokenId: caller.tokenId };
  const unstarted = (amount: MicroCredits): string =>
    orphanNote(exchange, { amount, priceVersion: admission.priceVersion, candidate: admission.candidates[0] });
  let last: { readonly cost: MicroCredits; note(amount: MicroCredits): string } = { cost: ZERO, note: unstarted };
  let extendedMs = exchange.startedMs;
  let checkpointMs = exchange.startedMs;
  let over = false;
  let isAnswered = false;
  let inputTokens = Math.ceil(exchange.asked.textBytes / BYTES_PER_TOKEN);
  let inputCounted = false;

  const countInput = async (model: string): Promise<void> => {
    const counted = await parts.counter.count({
      endpoint: exchange.endpoint.kind,
      model,
      request: exchange.bytes,
      response: [],
      stream: exchange.asked.stream,
    });
    inputTokens = counted.input;
  };

  /** What would be owed if this process died now, as a row that somebody else can book. */
  const floorNow = (progress: { events: number; candidate: PricedCandidate }) => {
    const { candidate, events } = progress;
    const usage = { ...NO_USAGE, input: isAnswered ? inputTokens : 0, output: isAnswered ? events : 0 };
    const { cost, breakdown } = charge({ entry: candidate.entry, times: candidate.times, usage });
    const facts = { cost, usage, breakdown, httpStatus: isAnswered ? 200 : 0 };
    const note = (amount: MicroCredits) => orphanNote(exchange, { amount, priceVersion: admission.priceVersion, candidate, floor: facts });
    last = { cost, note };
    return last;
  };

  const checkpoint = (progress: LeaseProgress & { candidate: PricedCandidate }): void => {
    const floor = floorNow(progress);
    const { amount } = admission;
    parts.journal.held({ ...ids, amount, floor: floor.cost, note: floor.note(amount) });
  };

  const extend = async (progress: LeaseProgress & { candidate: PricedCandidate }): Promise<void> => {
    if (!inputCounted) {
      inputCounted = true;
      await countInput(progress.candidate.servedModel).catch(() => undefined); // the guess stays
    }
    if (over) return;
    const floor = floorNow(progress);
    const amount = amountWanted(parts, exchange, progress, floor.cost);
    const { leaseMs } = parts.settings;
    const answer = await parts.store.extend({ ...ids, amount, floor: floor.cost, leaseMs, note: floor.note(amount) });
    if (answer.kind === 'extended') admission.amount = answer.amount;
    if (answer.kind === 'gone') await rehold();
    const exhausted = answer.kind === 'short' && floor.cost >= admission.amount;
    if (!over && exhausted && parts.settings.onExhaustion === 'cut') progress.cut(outOfCredits());
  };

  /** Swept while we were frozen, or lost with the store; the request runs, so its hold has to stand. */
  const rehold = async (): Promise<void> => {
    if (over) return;
    const { amount } = admission;
    await parts.store.rehold({ ...ids, amount, floor: last.cost, leaseMs: parts.settings.leaseMs, note: last.note(amount) });
  };

  return {
    answered: () => {
      isAnswered = true;
    },
    tick: (nowMs, progress) => {
      const { candidate } = progress;
      if (over || !candidate) return;
      if (nowMs - extendedMs >= parts.settings.heartbeatMs) {
        extendedMs = nowMs;
        extend({ ...progress, candidate }).catch((error) =>
          parts.log.warn({ err: error, request_id: exchange.id }, 'a lease was not renewed'),
        );
      }
      if (isAnswered && nowMs - checkpointMs >= CHECKPOINT_EVERY_MS) {
        checkpointMs = nowMs;
        checkpoint({ ...progress, candidate });
      }
    },
    restore: () => {
      rehold().catch((error) => parts.log.warn({ err: error, request_id: exchange.id }, 'a hold was not put back'));
    },
    end: () => {
      over = true;
    },
  };
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
