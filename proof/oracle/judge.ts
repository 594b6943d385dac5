import { countInput, countOutput, type Endpoint, list, parse, record } from './count.js';
import { dataOf, wholeEvents } from './events.js';
import { type Price, priceOf, type Used } from './price.js';

/** What is known of one request from outside: what was asked, and what the upstream wrote down about the last attempt. */
export interface Evidence {
  readonly endpoint: Endpoint;
  readonly stream: boolean;
  /** The body the client sent. */
  readonly request: string;
  readonly choices: number;
  readonly price: Price;
  readonly multiplier: string;
  /** Null: no attempt reached the upstream. */
  readonly answer: UpstreamLog | null;
  readonly clientLeft: boolean;
}

export interface UpstreamLog {
  readonly status: number;
  readonly isEvents: boolean;
  /** Body bytes, decompressed. */
  readonly delivered: Buffer;
  /** `clean`: the answer is whole by its framing. `broken`: cut, reset or silent. `left`: the client's side closed first. */
  readonly end: 'clean' | 'broken' | 'left';
}

export interface Verdict {
  readonly cost: number;
  readonly status: 'complete' | 'partial' | 'cancelled' | 'failed';
}

const NOTHING: Verdict = { cost: 0, status: 'failed' };

/** The published rules B1–B15, read against the evidence. */
export function judge(evidence: Evidence): Verdict {
  const { answer, clientLeft } = evidence;
  if (!answer) return NOTHING;
  if (answer.status >= 300) return NOTHING;
  if (answer.end === 'broken' && answer.delivered.length === 0) return NOTHING;
  if (answer.isEvents) return judgeStream(evidence, answer);
  if (clientLeft && evidence.stream && answer.end === 'left') return charged(evidence, 'cancelled', '');
  return judgePlain(evidence, answer);
}

function judgeStream(evidence: Evidence, answer: UpstreamLog): Verdict {
  const text = answer.delivered.toString('utf8');
  const seen = answer.end === 'clean' ? text : wholeEvents(text);
  const events = dataOf(seen);
  const failedAt = events.findIndex((data) => {
    const error = record(parse(data))?.['error'];
    return error !== undefined && error !== null;
  });
  if (failedAt === 0) return NOTHING;
  if (failedAt > 0) return charged(evidence, 'partial', join(events.slice(0, failedAt)));
  if (events.includes('[DONE]')) return charged(evidence, 'complete', seen);
  if (answer.end === 'left') return charged(evidence, 'cancelled', seen);
  if (answer.end === 'clean' && isFinished(events, evidence.choices)) return charged(evidence, 'complete', seen);
  return events.length === 0 ? NOTHING : charged(evidence, 'partial', seen);
}

const join = (events: readonly string[]): string => events.map((data) => `data: ${data}\n\n`).join('');

function isFinished(events: readonly string[], choices: number): boolean {
  const finished = new Set<unknown>();
  for (const data of events) {
    for (const item of list(record(parse(data))?.['choices'])) {
      const choice = record(item);
      if (typeof choice?.['finish_reason'] === 'string') finished.add(choice['index'] ?? 0);
    }
  }
  return finished.size >= choices;
}

function judgePlain(evidence: Evidence, answer: UpstreamLog): Verdict {
  const text = answer.delivered.toString('utf8');
  if (answer.end === 'broken') return charged(evidence, evidence.clientLeft ? 'cancelled' : 'partial', text);
  if (!text.trimStart().startsWith('{')) return NOTHING;
  const body = record(parse(text));
  const isError = body && (body['error'] ?? null) !== null && body['choices'] === undefined && body['data'] === undefined;
  if (isError || (!body && text.includes('"error"'))) return NOTHING;
  return charged(evidence, evidence.clientLeft ? 'cancelled' : 'complete', text, true);
}

function charged(evidence: Evidence, status: Verdict['status'], answer: string, isWhole = status === 'complete'): Verdict {
  const used = usedOf(evidence, answer, isWhole);
  return { status, cost: priceOf(evidence.price, used, evidence.multiplier) };
}

/** B1, B2, B5, B8, B9, B12: the last report where it is believable, our count where it is not, the larger of both after a cut. */
function usedOf(evidence: Evidence, answer: string, isWhole: boolean): Used {
  const { endpoint } = evidence;
  const reported = readReport(lastReport(evidence.stream, answer), endpoint !== 'embeddings');
  const isZero = reported && (reported.input === 0 || (reported.output === 0 && endpoint !== 'embeddings'));
  if (reported && isWhole && !isZero) return reported;
  const { output, delivered } = countOutput(endpoint, evidence.stream, answer);
  const counted = { input: countInput(endpoint, evidence.request), output, cached: 0, reasoning: 0 };
  if (!reported) return counted;
  if (isWhole && !delivered) return reported;
  if (reported.input <= counted.input && reported.output <= counted.output) return counted;
  return { ...reported, input: Math.max(reported.input, counted.input), output: Math.max(reported.output, counted.output) };
}

function lastReport(stream: boolean, answer: string): unknown {
  const bodies = stream ? dataOf(answer).map(parse) : [parse(answer)];
  const reports = bodies.map((body) => record(body)?.['usage']).filter((usage) => record(usage) !== undefined);
  return reports.at(-1);
}

const TOKENS_MAX = 20_000_000;

function readReport(usage: unknown, needsOutput: boolean): Used | undefined {
  const report = record(usage);
  if (!report) return undefined;
  const input = report['prompt_tokens'];
  const output = report['completion_tokens'] ?? (needsOutput ? undefined : 0);
  const cached = record(report['prompt_tokens_details'])?.['cached_tokens'] ?? 0;
  const reasoning = record(report['completion_tokens_details'])?.['reasoning_tokens'] ?? 0;
  const numbers = [input, output, cached, reasoning];
  if (!numbers.every((one) => Number.isSafeInteger(one) && Number(one) >= 0 && Number(one) <= TOKENS_MAX)) return undefined;
  return {
    input: Number(input),
    output: Number(output),
    cached: Math.min(Number(cached), Number(input)),
    reasoning: Math.min(Number(reasoning), Number(output)),
  };
}
