import type { Unavailable } from '../credits/store.js';
import { monotonicMs } from '../domain/clock.js';

/** A reload of the hot store takes a second or two: better a late answer than a refusal. */
const PATIENCE_MS = 2_000;
const ASK_EVERY_MS = 50;
/** A crowd asks half as often. */
const CROWD = 500;
/** So many requests may wait at once; more would only make the moment after the reload worse. */
const WAITING_MAX = 2_000;

let waiting = 0;

/** Asks again while the store is being loaded, at most two seconds. Only for questions that changed nothing. */
export async function patiently<T extends { readonly kind: string }>(
  first: T | Unavailable,
  ask: () => Promise<T | Unavailable>,
): Promise<T | Unavailable> {
  if (!isLoading(first) || waiting >= WAITING_MAX) return first;
  const untilMs = monotonicMs() + PATIENCE_MS;
  waiting += 1;
  try {
    let answer: T | Unavailable = first;
    while (isLoading(answer) && monotonicMs() < untilMs) {
      const everyMs = waiting > CROWD ? 2 * ASK_EVERY_MS : ASK_EVERY_MS;
      await new Promise((resolve) => setTimeout(resolve, everyMs * (0.5 + Math.random())));
      answer = await ask();
    }
    return answer;
  } finally {
    waiting -= 1;
  }
}

export function isLoading(answer: { readonly kind: string }): boolean {
  const { reason, maybeDone } = answer as Partial<Unavailable>;
  return answer.kind === 'unavailable' && reason === 'not_loaded' && maybeDone === false;
}
