import type { SettleCommand } from '../credits/store.js';
import { type Breakdown, NO_USAGE, type Usage, type UsageSource } from '../domain/charge.js';
import { monotonicMs } from '../domain/clock.js';
import { type MicroCredits, microCredits, ZERO } from '../domain/credits.js';
import type { GatewaySettings } from '../domain/settings.js';
import { charge } from '../pricing/charge.js';
import type { TokenCounter } from '../pricing/tokens.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import { type ReportedUsage, readUsage } from '../upstreams/usage.js';
import { countUsage } from './count.js';
import { chargeEvent } from './event.js';
import type { AdmittedExchange, Exchange, Outcome, Settlements } from './exchange.js';
import type { Outbox } from './outbox.js';
import type { GatewayTally } from './tally.js';

export interface SettlementParts {
  readonly settings: GatewaySettings;
  readonly outbox: Outbox;
  readonly counter: TokenCounter;
  readonly metrics: Metrics;
  readonly tally: GatewayTally;
  readonly log: Log;
}

interface Counted {
  readonly usage: Usage;
  readonly source: UsageSource;
  readonly flags: readonly string[];
}

export function createSettlements(parts: SettlementParts): Settlements {
  const { outbox } = parts;
  let counting = 0;
  const settle = (exchange: AdmittedExchange, outcome: Outcome, counted: Counted): MicroCredits => {
    const priced = priceIt(parts.settings.admission, exchange, outcome, counted.usage);
    outbox.send(commandFor(exchange, outcome, counted, priced), exchange.admission.entry);
    observe(parts, counted, priced);
    return priced.cost;
  };
  const countThenSettle = async (exchange: AdmittedExchange, outcome: Outcome, reported: ReportedUsage): Promise<void> => {
    counting += 1;
    try {
      settle(exchange, outcome, await countUsage(parts, exchange, outcome, reported));
    } finally {
      counting -= 1;
    }
  };
  return {
    finish: (exchange, outcome) => {
      if (!outcome.owed) return settle(exchange, outcome, { usage: NO_USAGE, source: 'estimated', flags: [] });
      const reported = readUsage(outcome.reported, limitsOf(exchange, outcome));
      if (reported.kind === 'usage' && outcome.whole && !isZero(exchange, reported.usage)) {
        return settle(exchange, outcome, { usage: reported.usage, source: 'upstream', flags: reported.flags });
      }
      countThenSettle(exchange, outcome, reported).catch((error) =>
        parts.log.error({ err: error, request_id: exchange.id }, 'settling failed'),
      );
      return null;
    },
    giveBack: (exchange) => {
      const { tokenId, orgId } = exchange.caller;
      outbox.send({ requestId: exchange.id, tokenId, orgId, kind: 'final', cost: ZERO, event: null });
    },
    flush: async (deadlineMs) => {
      while (monotonicMs() < deadlineMs && (counting > 0 || outbox.size() > 0)) await new Promise((resolve) => setTimeout(resolve, 20));
      return counting === 0 && outbox.size() === 0;
    },
  };
}

/** A report of nothing for something delivered is not believed before it is counted. */
const isZero = (exchange: Exchange, usage: Usage): boolean => usage.input === 0 || (usage.output === 0 && exchange.endpoint.hasOutput);

function limitsOf(exchange: Exchange, outcome: Outcome): { inputMax: number; outputMax: number; needsOutput: boolean } {
  const maxOutput = outcome.candidate?.entry.maxOutput ?? 10_000_000;
  const inputMax = 20_000_000;
  return { inputMax, outputMax: maxOutput * exchange.asked.choices * 2, needsOutput: exchange.endpoint.hasOutput };
}

interface Priced {
  readonly cost: MicroCredits;
  readonly operatorLoss: number;
  readonly debt: boolean;
  readonly breakdown: Breakdown;
}

/** The price of the candidate that served. In `strict` a charge never exceeds its hold; the operator carries the rest. */
function priceIt(mode: GatewaySettings['admission'], exchange: AdmittedExchange, outcome: Outcome, usage: Usage): Priced {
  const { candidate } = outcome;
  if (!candidate || !outcome.owed) return { cost: ZERO, operatorLoss: 0, debt: false, breakdown: { lines: [], times: '1' } };
  const { cost, breakdown } = charge({ entry: candidate.entry, times: candidate.times, usage });
  const held = exchange.admission.amount;
  if (cost <= held) return { cost, operatorLoss: 0, debt: false, breakdown };
  if (mode === 'strict') return { cost: held, operatorLoss: cost - held, debt: false, breakdown };
  return { cost, operatorLoss: 0, debt: true, breakdown };
}

function commandFor(exchange: AdmittedExchange, outcome: Outcome, counted: Counted, priced: Priced): SettleCommand {
  const { tokenId, orgId } = exchange.caller;
  const event = chargeEvent(exchange, {
    kind: 'final',
    status: outcome.status,
    candidate: outcome.candidate,
    httpStatus: outcome.httpStatus,
    cost: priced.cost,
    held: exchange.admission.amount,
    debt: priced.debt,
    operatorLoss: priced.operatorLoss,
    source: counted.source,
    usage: counted.usage,
    priceVersion: exchange.admission.priceVersion,
    breakdown: priced.breakdown,
    finishReason: outcome.finishReason,
    latencyMs: Math.max(0, monotonicMs() - exchange.startedMs),
    ttftMs: outcome.ttftMs,
    flags: counted.flags.length || outcome.flags.length ? [...outcome.flags, ...counted.flags] : outcome.flags,
    attempts: outcome.attempts,
  });
  return { requestId: exchange.id, tokenId, orgId, kind: 'final', cost: microCredits(priced.cost), event };
}

function observe({ metrics, tally }: SettlementParts, counted: Counted, priced: Priced): void {
  tally.charged(priced.cost, counted.usage);
  if (priced.operatorLoss > 0) metrics.operatorLoss.inc(metrics.credits(priced.operatorLoss));
  if (priced.debt) metrics.debt.inc();
}
