import { textUsage, type Usage, type UsageSource } from '../domain/charge.js';
import type { PartBounds } from '../domain/prices.js';
import type { TokenCounter } from '../pricing/tokens.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { ReportedUsage } from '../upstreams/usage.js';
import { traceOf } from './event.js';
import type { AdmittedExchange, Outcome } from './exchange.js';
import { countEvents } from './kept.js';

const BYTES_PER_TOKEN = 4;

/**
 * What was used when the upstream's report is missing, cut short or untrue: our own count by the published rule, and the
 * report where it says more. An explicit zero stands only when nothing was delivered.
 */
export async function countUsage(
  parts: { readonly counter: TokenCounter; readonly metrics: Metrics; readonly log: Log },
  exchange: AdmittedExchange,
  outcome: Outcome,
  reported: ReportedUsage,
): Promise<{ readonly usage: Usage; readonly source: UsageSource; readonly flags: readonly string[] }> {
  const counted = await count(parts, exchange, outcome);
  const flags = [...counted.flags];
  const ours = textUsage(counted.input, counted.output + outcome.uncountedEvents);
  if (reported.kind === 'absurd') flags.push('usage_absurd');
  if (reported.kind === 'none' && outcome.whole) flags.push('usage_missing');
  if (reported.kind === 'usage') {
    const { usage } = reported;
    const [said, found] = [usage, ours].map(({ input, output }) => ({ input, output }));
    Object.assign(traceOf(exchange), { reported: said, counted: found });
    if (outcome.whole && !counted.delivered) return { usage, source: 'upstream', flags: [...flags, ...reported.flags] };
    if (usage.input > ours.input || usage.output > ours.output) {
      const larger = { ...usage, input: Math.max(usage.input, ours.input), output: Math.max(usage.output, ours.output) };
      return { usage: larger, source: larger.output === usage.output ? 'upstream' : 'estimated', flags };
    }
    if (usage.input === 0 || usage.output === 0) flags.push('zero_usage_with_output');
  }
  for (const reason of flags) parts.metrics.estimatedUsage.inc({ reason });
  return { usage: ours, source: 'estimated', flags };
}

async function count(
  parts: { readonly counter: TokenCounter; readonly log: Log },
  exchange: AdmittedExchange,
  outcome: Outcome,
): Promise<{ input: number; output: number; delivered: boolean; flags: readonly string[] }> {
  try {
    const counted = await parts.counter.count({
      endpoint: exchange.endpoint.kind,
      model: outcome.candidate?.servedModel ?? exchange.asked.model,
      request: exchange.bytes,
      response: outcome.delivered,
      stream: outcome.stream,
      bounds: boundsOf(outcome),
    });
    return { ...counted, flags: [] };
  } catch (error) {
    parts.log.warn({ err: error, request_id: exchange.id }, 'counting failed; bytes are counted instead');
    const delivered = sumOf(outcome.delivered, (piece) => piece.length);
    return {
      input: Math.ceil(exchange.asked.textBytes / BYTES_PER_TOKEN),
      output: outcome.stream ? sumOf(outcome.delivered, (piece) => countEvents(piece)) : Math.ceil(delivered / BYTES_PER_TOKEN),
      delivered: delivered > 0,
      flags: ['counting_failed'],
    };
  }
}

const sumOf = (pieces: readonly Buffer[], of: (piece: Buffer) => number): number => pieces.reduce((sum, piece) => sum + of(piece), 0);

/** The bounds the hold was made with: a model's own where it states one. */
function boundsOf(outcome: Outcome): Partial<PartBounds> {
  const { image, audio, file } = outcome.candidate?.entry.bounds ?? {};
  return { ...(image ? { image } : {}), ...(audio ? { audio } : {}), ...(file ? { file } : {}) };
}
