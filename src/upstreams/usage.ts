import type { Usage } from '../domain/charge.js';

export type ReportedUsage =
  | { readonly kind: 'usage'; readonly usage: Usage; readonly flags: readonly string[] }
  | { readonly kind: 'absurd' }
  | { readonly kind: 'none' };

export interface UsageLimits {
  readonly inputMax: number;
  readonly outputMax: number;
  /** A report without output tokens is no report for an endpoint that writes text. */
  readonly needsOutput: boolean;
}

/** Nothing that exists reads or writes more tokens than this in one request. */
const TOKENS_MAX = 50_000_000;

/**
 * Reads a usage object as providers write it. One number that cannot be true makes the whole report untrue; subsets
 * larger than their whole are cut down to it and flagged.
 */
export function readUsage(reported: unknown, limits: UsageLimits): ReportedUsage {
  if (reported === null || reported === undefined) return { kind: 'none' };
  if (!isRecord(reported)) return { kind: 'absurd' };
  const input = numberOf(reported, 'prompt_tokens', 'input_tokens');
  const output = numberOf(reported, 'completion_tokens', 'output_tokens');
  const inDetail = detailOf(reported, 'prompt_tokens_details', 'input_tokens_details');
  const outDetail = detailOf(reported, 'completion_tokens_details', 'output_tokens_details');
  if (input === undefined || (limits.needsOutput && output === undefined)) return ABSURD;
  const parts: Parts = {
    inp: input,
    out: output ?? 0,
    cached: numberOf(inDetail, 'cached_tokens') ?? numberOf(reported, 'prompt_cache_hit_tokens') ?? 0,
    write5m: numberOf(inDetail, 'cache_write_tokens', 'cache_creation_tokens') ?? 0,
    write1h: numberOf(inDetail, 'cache_write_1h_tokens') ?? 0,
    reasoning: numberOf(outDetail, 'reasoning_tokens') ?? 0,
    audioIn: numberOf(inDetail, 'audio_tokens') ?? 0,
    audioOut: numberOf(outDetail, 'audio_tokens') ?? 0,
  };
  const total = numberOf(reported, 'total_tokens') ?? 0;
  if (!arePlausible(parts) || !plausible(total) || parts.inp > limits.inputMax || parts.out > limits.outputMax) return ABSURD;
  return fit(parts);
}

const ABSURD: ReportedUsage = { kind: 'absurd' };

interface Parts {
  readonly inp: number;
  readonly out: number;
  readonly cached: number;
  readonly write5m: number;
  readonly write1h: number;
  readonly reasoning: number;
  readonly audioIn: number;
  readonly audioOut: number;
}

function fit(parts: Parts): ReportedUsage {
  let flags: readonly string[] = [];
  const within = (part: number, room: number): number => {
    if (part <= room) return part;
    flags = ['usage_subset_too_large'];
    return Math.max(0, room);
  };
  const cached = within(parts.cached, parts.inp);
  const write5m = within(parts.write5m, parts.inp - cached);
  const write1h = within(parts.write1h, parts.inp - cached - write5m);
  const audioIn = within(parts.audioIn, parts.inp - cached - write5m - write1h);
  const reasoning = within(parts.reasoning, parts.out);
  const audioOut = within(parts.audioOut, parts.out - reasoning);
  // Each by name: to spread a frozen object takes longer than all the rest here.
  const usage: Usage = {
    input: parts.inp,
    cached_input: cached,
    cache_write_5m: write5m,
    cache_write_1h: write1h,
    output: parts.out,
    reasoning,
    audio_input: audioIn,
    audio_output: audioOut,
    images: 0,
    seconds: 0,
    characters: 0,
  };
  return { kind: 'usage', usage, flags };
}

const arePlausible = (parts: Parts): boolean =>
  plausible(parts.inp) &&
  plausible(parts.out) &&
  plausible(parts.cached) &&
  plausible(parts.write5m) &&
  plausible(parts.write1h) &&
  plausible(parts.reasoning) &&
  plausible(parts.audioIn) &&
  plausible(parts.audioOut);

const plausible = (value: number): boolean => Number.isSafeInteger(value) && value >= 0 && value <= TOKENS_MAX;

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const NOTHING: Record<string, unknown> = Object.freeze(Object.create(null));

function detailOf(from: Record<string, unknown>, name: string, otherName: string): Record<string, unknown> {
  const value = isRecord(from[name]) ? from[name] : from[otherName];
  return isRecord(value) ? value : NOTHING;
}

/**
 * The first of these fields that is there. A field that is there but no number counts as NaN, which is never plausible.
 * The names are none that every object inherits.
 */
function numberOf(from: Record<string, unknown>, name: string, otherName = name): number | undefined {
  const value = from[name] ?? from[otherName];
  if (value === null || value === undefined) return undefined;
  return typeof value === 'number' ? value : Number.NaN;
}
