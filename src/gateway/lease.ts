import type { MicroCredits } from '../domain/credits.js';
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
  end(): void;
}

export interface LeaseProgress {
  readonly answered: boolean;
  /** Streamed events so far: about one output token each. */
  readonly events: number;
  readonly candidate: PricedCandidate | undefined;
  cut(error: GatewayError): void;
}

const BYTES_PER_TOKEN = 4;
/** A stream asks for more when it has used this share of its hold, so that the answer is there before it runs out. */
const OUTGROWN = 0.75;

export function createLease(parts: GatewayParts, exchange: AdmittedExchange): Lease {
  const { admission, caller } = exchange;
  let lastMs = exchange.startedMs;
  let over = false;
  let isAnswered = false;
  let exhausted = false;
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

  const extend = async (progress: LeaseProgress & { candidate: PricedCandidate }): Promise<void> => {
    const { entry, times, servedModel } = progress.candidate;
    if (!inputCounted) {
      inputCounted = true;
      await countInput(servedModel).catch(() => undefined); // the estimate stays
    }
    if (over) return;
    const usage = { ...NO_USAGE, input: isAnswered ? inputTokens : 0, output: isAnswered ? progress.events : 0 };
    const floor = charge({ entry, times, usage });
    const wanted = amountWanted(parts, exchange, progress, floor.cost);
    const answer = await parts.store.extend({
      requestId: exchange.id,
      orgId: caller.orgId,
      tokenId: caller.tokenId,
      amount: wanted,
      floor: floor.cost,
      leaseMs: parts.settings.leaseMs,
      note: orphanNote(exchange, {
        amount: wanted,
        priceVersion: admission.priceVersion,
        candidate: progress.candidate,
        floor: { cost: floor.cost, usage, breakdown: floor.breakdown, httpStatus: isAnswered ? 200 : 0 },
      }),
    });
    if (answer.kind === 'extended') admission.amount = answer.amount;
    if (answer.kind === 'gone') await rehold(floor.cost);
    exhausted = answer.kind === 'short';
    if (over || !exhausted || parts.settings.onExhaustion !== 'cut' || floor.cost < admission.amount) return;
    progress.cut(outOfCredits());
  };

  /** Swept while we were frozen, or lost with the store; the request runs, so its hold has to stand. */
  const rehold = async (floor: MicroCredits): Promise<void> => {
    if (over) return;
    await parts.store.rehold({
      requestId: exchange.id,
      orgId: caller.orgId,
      tokenId: caller.tokenId,
      amount: admission.amount,
      floor,
      leaseMs: parts.settings.leaseMs,
      note: orphanNote(exchange, { amount: admission.amount, priceVersion: admission.priceVersion, candidate: admission.candidates[0] }),
    });
  };

  return {
    answered: () => {
      isAnswered = true;
    },
    tick: (nowMs, progress) => {
      const { candidate } = progress;
      if (over || !candidate || nowMs - lastMs < parts.settings.heartbeatMs) return;
      lastMs = nowMs;
      extend({ ...progress, candidate }).catch((error) =>
        parts.log.warn({ err: error, request_id: exchange.id }, 'a lease was not renewed'),
      );
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
