import type { Refusal } from '../../domain/refusal.js';
import type { TokenTerms } from '../store.js';

/** What a token asked for, second by second, over the last minute. */
export type RateWindow = Map<number, { requests: number; tokens: number }>;

type RateLimited = Extract<Refusal, { kind: 'rate_limited' }>;

/** A bucket counts for 60 s after its own second is over, so no span of 60 s ever holds more than the limit. */
const SPAN_S = 60;
/** When a running request ends is not known; a second is a fair time to ask again. */
const CONCURRENCY_RETRY_MS = 1_000;

/** The refusal, or undefined when there is room for one more request of so many tokens. */
export function rateRefusal(terms: TokenTerms, open: number, window: RateWindow, tokens: number, nowMs: number): RateLimited | undefined {
  if (terms.requestsPerMinute > 0 || terms.tokensPerMinute > 0) {
    const second = Math.floor(nowMs / 1000);
    for (const bucket of window.keys()) if (bucket < second - SPAN_S) window.delete(bucket);
    const over =
      overLimit('requests', terms.requestsPerMinute, 1, window, nowMs) ?? overLimit('tokens', terms.tokensPerMinute, tokens, window, nowMs);
    if (over) return over;
  }
  if (terms.concurrency === 0 || open < terms.concurrency) return undefined;
  return { kind: 'rate_limited', scope: 'concurrency', limit: terms.concurrency, retryAfterMs: CONCURRENCY_RETRY_MS };
}

export function countRate(terms: TokenTerms, window: RateWindow, tokens: number, nowMs: number): void {
  if (terms.requestsPerMinute === 0 && terms.tokensPerMinute === 0) return;
  const second = Math.floor(nowMs / 1000);
  const bucket = window.get(second);
  if (!bucket) window.set(second, { requests: 1, tokens });
  else {
    bucket.requests += 1;
    bucket.tokens += tokens;
  }
}

function overLimit(scope: 'requests' | 'tokens', limit: number, asked: number, window: RateWindow, nowMs: number): RateLimited | undefined {
  if (limit === 0) return undefined;
  let sum = asked;
  for (const bucket of window.values()) sum += bucket[scope];
  if (sum <= limit) return undefined;
  const oldestFirst = [...window].sort((a, b) => a[0] - b[0]);
  // More than a whole minute may hold: no waiting helps, a full span is the least untrue answer.
  let retryAfterMs = SPAN_S * 1000;
  for (const [second, bucket] of oldestFirst) {
    sum -= bucket[scope];
    if (sum > limit) continue;
    retryAfterMs = (second + SPAN_S + 1) * 1000 - nowMs;
    break;
  }
  return { kind: 'rate_limited', scope, limit, retryAfterMs };
}
