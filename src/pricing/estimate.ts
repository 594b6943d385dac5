import { MICRO_MAX, type MicroCredits, microCredits, ZERO } from '../domain/credits.js';
import type { PartBounds } from '../domain/prices.js';
import { safely } from './charge.js';
import { dearest, type PriceEntry, type RateTable, tableFor } from './entry.js';
import { type Fraction, fraction, larger, multiply, NOTHING } from './fraction.js';

/** What is known of a request before it is sent. Counted by the gateway from the body, without a tokenizer. */
export interface EstimateFacts {
  /** UTF-8 bytes of everything that is text: messages, names, tools, schemas. The body's length without data URIs is a bound too. */
  readonly textBytes: number;
  readonly messages: number;
  readonly images: number;
  readonly audios: number;
  readonly files: number;
  /** `max_completion_tokens` or `max_tokens`; null = not stated. */
  readonly maxOutput: number | null;
  /** `n` (and `best_of`): each of them may be as long as the maximum. */
  readonly choices: number;
  /** True for endpoints that answer no tokens, such as embeddings. */
  readonly noOutput?: boolean;
}

export type Estimate =
  | { readonly kind: 'ok'; readonly amount: MicroCredits; readonly inputTokens: number; readonly outputTokens: number }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; readonly param: string | null };

export interface EstimateRequest {
  readonly entry: PriceEntry;
  readonly times: Fraction;
  readonly mode: 'normal' | 'strict';
  readonly facts: EstimateFacts;
  /** The book's defaults for parts the model states no bound for (mode `normal`). */
  readonly partBounds?: PartBounds;
}

/**
 * The most a request may cost, before it is sent. `strict` is a true upper bound of what the published counting rule can
 * find; `normal` takes half a token per byte, more than any ordinary text has. Never throws, never negative.
 */
export function estimate(request: EstimateRequest): Estimate {
  const { entry, times, mode, facts } = request;
  const wrong = firstWrong(facts);
  if (wrong) return wrong;
  const parts = partTokens(request);
  if (typeof parts !== 'number') return parts;
  const text = mode === 'strict' ? facts.textBytes : Math.ceil(facts.textBytes / 2);
  const overhead = OVERHEAD[mode];
  const inputTokens = text + parts + facts.messages * overhead.message + overhead.request;
  const outputTokens = outputBound(entry, facts, mode) * facts.choices;
  if (!Number.isSafeInteger(inputTokens) || !Number.isSafeInteger(outputTokens)) return TOO_LARGE;
  if (entry.free) return { kind: 'ok', amount: ZERO, inputTokens, outputTokens };
  const quick =
    mode === 'normal' && facts.audios === 0 ? quickly(tableFor(entry, inputTokens), { inputTokens, outputTokens, times }) : undefined;
  if (quick !== undefined) return { kind: 'ok', amount: quick, inputTokens, outputTokens };
  const cost = reachable(entry, inputTokens, mode)
    .map((table) => costOf(table, { inputTokens, outputTokens, mode, audio: facts.audios > 0 }))
    .reduce(larger, NOTHING);
  const exact = multiply(cost, times);
  const amount = (exact.n + exact.d - 1n) / exact.d;
  if (amount > BigInt(MICRO_MAX)) return TOO_LARGE;
  return { kind: 'ok', amount: microCredits(Number(amount)), inputTokens, outputTokens };
}

/**
 * Tokens a provider adds around the text. The counting rule adds 3 per message and 3 per request; `strict` leaves room
 * for the instructions some providers put before tools.
 */
const OVERHEAD = { normal: { message: 4, request: 16 }, strict: { message: 8, request: 512 } } as const;

/** When a price is by time and nothing says how long, a minute is set aside. */
const HOLD_SECONDS = 60;

function outputBound(entry: PriceEntry, facts: EstimateFacts, mode: 'normal' | 'strict'): number {
  if (facts.noOutput) return 0;
  const unstated = mode === 'strict' ? (entry.maxOutput ?? entry.holdOutput) : entry.holdOutput;
  const stated = facts.maxOutput ?? unstated;
  return entry.maxOutput === null ? stated : Math.min(stated, entry.maxOutput);
}

/** In `strict` every tier that this many tokens can reach, because fewer tokens may turn out dearer. */
function reachable(entry: PriceEntry, inputTokens: number, mode: 'normal' | 'strict'): RateTable[] {
  if (mode === 'normal') return [tableFor(entry, inputTokens)];
  return [entry.table, ...entry.tiers.filter(({ from }) => inputTokens >= from).map(({ table }) => table)];
}

/** The usual case without big integers, where that provably gives the same; undefined otherwise. */
function quickly(
  table: RateTable,
  bound: { readonly inputTokens: number; readonly outputTokens: number; readonly times: Fraction },
): MicroCredits | undefined {
  const { rates } = table;
  const input = rates.get('input')?.safeNumerator ?? 0;
  const output = rates.get('output')?.safeNumerator ?? 0;
  const request = rates.get('request')?.safeNumerator ?? 0;
  const second = rates.get('second')?.safeNumerator ?? 0;
  if (input < 0 || output < 0 || request < 0 || second < 0) return undefined;
  return safely(input * bound.inputTokens + output * bound.outputTokens + request + second * HOLD_SECONDS, table, bound.times);
}

interface Bound {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly mode: 'normal' | 'strict';
  readonly audio: boolean;
}

function costOf(table: RateTable, bound: Bound): Fraction {
  const strict = bound.mode === 'strict';
  const audioIn = bound.audio ? ['audio_input'] : [];
  const input = dearest(
    table,
    strict ? ['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'audio_input'] : ['input', ...audioIn],
  );
  const output = dearest(table, strict ? ['output', 'reasoning', 'audio_output'] : ['output']);
  return [
    times(input, bound.inputTokens),
    times(output, bound.outputTokens),
    dearest(table, ['request']),
    times(dearest(table, ['second']), HOLD_SECONDS),
  ].reduce(add, NOTHING);
}

const times = (rate: Fraction, quantity: number): Fraction => fraction(rate.n * BigInt(quantity), rate.d);
const add = (a: Fraction, b: Fraction): Fraction => fraction(a.n * b.d + b.n * a.d, a.d * b.d);

const PARTS = [
  ['images', 'image'],
  ['audios', 'audio'],
  ['files', 'file'],
] as const;

/** Bounds of parts that are not text. A part without a bound is refused in `strict`; in `normal` the book's default applies. */
function partTokens(request: EstimateRequest): number | Estimate {
  const { entry, facts, mode } = request;
  let tokens = 0;
  if (facts.images + facts.audios + facts.files === 0) return 0;
  for (const [count, part] of PARTS) {
    if (facts[count] === 0) continue;
    const bound = entry.bounds[part] ?? (mode === 'normal' ? (request.partBounds ?? DEFAULT_PART_BOUNDS)[part] : null);
    if (bound === null) {
      return {
        kind: 'refused',
        code: 'part_not_bounded',
        message: `This server cannot say beforehand what ${part === 'file' ? 'a file' : `an ${part}`} costs with this model, so it does not accept ${count} for it.`,
        param: 'messages',
      };
    }
    tokens += facts[count] * bound;
  }
  return tokens;
}

/** What one part is taken for when nobody stated a bound: a large image in full detail, three minutes of sound, a short document. */
export const DEFAULT_PART_BOUNDS: PartBounds = { image: 2500, audio: 4000, file: 20_000 };

const CHOICES_MAX = 1024;

function firstWrong(facts: EstimateFacts): Estimate | undefined {
  const { textBytes, messages, images, audios, files, maxOutput, choices } = facts;
  if (!(isCount(textBytes) && isCount(messages) && isCount(images) && isCount(audios) && isCount(files))) return wrongCount(facts);
  if (maxOutput !== null && !(isCount(maxOutput) && maxOutput > 0)) {
    return invalid('max_tokens', 'The maximum of tokens must be a whole number of at least 1.');
  }
  if (!(isCount(choices) && choices > 0 && choices <= CHOICES_MAX)) {
    return invalid('n', `The number of choices must be a whole number from 1 to ${CHOICES_MAX}.`);
  }
  return undefined;
}

function wrongCount(facts: EstimateFacts): Estimate | undefined {
  for (const [name, param] of FIELDS) {
    if (!isCount(facts[name])) return invalid(param, `${name} is not a whole number`);
  }
  return undefined;
}

const FIELDS = [
  ['textBytes', null],
  ['messages', 'messages'],
  ['images', 'messages'],
  ['audios', 'messages'],
  ['files', 'messages'],
] as const;

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

const invalid = (param: string | null, message: string): Estimate => ({ kind: 'refused', code: 'invalid_value', message, param });

const TOO_LARGE: Estimate = {
  kind: 'refused',
  code: 'invalid_value',
  message: 'This request could cost more than any balance can hold. Lower max_tokens.',
  param: 'max_tokens',
};
