/** What became of an attempt at an upstream, as far as it says something about that upstream. */
export const ATTEMPT_ENDS = ['answered', 'rejected', 'denied', 'rate_limited', 'server_errors', 'failed', 'aborted'] as const;
export type AttemptEnd = (typeof ATTEMPT_ENDS)[number];

/** The last minutes of one upstream, in one process or in all of them. */
export interface RecentUpstream {
  readonly name: string;
  readonly ended: Readonly<Record<AttemptEnd, number>>;
  /** How often the first byte took so long: the number of a step of time, and a count. */
  readonly firstBytes: Readonly<Record<number, number>>;
  /** Of any age; a code of ours, never what the upstream said. */
  readonly lastError: { readonly code: string; readonly atMs: number } | null;
}

/** Counts attempts in slots of a few seconds, so that what is older than the window drops out by itself. */
export interface Recent {
  ended(name: string, outcome: string, status: number): void;
  firstByte(name: string, ms: number): void;
  read(): readonly RecentUpstream[];
}

export const RECENT_MS = 5 * 60_000;
const SLOT_MS = 10_000;
const SLOTS = RECENT_MS / SLOT_MS;

interface Slot {
  /** Which ten seconds since 1970. */
  number: number;
  readonly ended: Partial<Record<AttemptEnd, number>>;
  readonly firstBytes: Record<number, number>;
}

interface Kept {
  /** The oldest first; at most one window of them. */
  readonly slots: Slot[];
  lastError: RecentUpstream['lastError'];
}

export function createRecent(nowMs: () => number = Date.now): Recent {
  // Names are the operator's own, so there are as many as the configuration has.
  const kept = new Map<string, Kept>();
  const slotOf = (name: string): Slot => {
    let one = kept.get(name);
    if (!one) {
      one = { slots: [], lastError: null };
      kept.set(name, one);
    }
    const number = Math.floor(nowMs() / SLOT_MS);
    const last = one.slots.at(-1);
    if (last && last.number === number) return last;
    const slot: Slot = { number, ended: {}, firstBytes: {} };
    one.slots.push(slot);
    if (one.slots.length > SLOTS) one.slots.shift();
    return slot;
  };
  return {
    ended: (name, outcome, status) => {
      const end = endOf(outcome, status);
      const { ended } = slotOf(name);
      ended[end] = (ended[end] ?? 0) + 1;
      const one = kept.get(name);
      if (one && isTheirs(end)) one.lastError = { code: end === 'failed' ? outcome : `status_${status}`, atMs: nowMs() };
    },
    firstByte: (name, ms) => {
      const { firstBytes } = slotOf(name);
      const step = stepOf(ms);
      firstBytes[step] = (firstBytes[step] ?? 0) + 1;
    },
    read: () => {
      const since = Math.floor(nowMs() / SLOT_MS) - SLOTS;
      return [...kept].map(([name, { slots, lastError }]) => {
        const young = slots.filter(({ number }) => number > since);
        return mergeRecent(
          name,
          young.map(({ ended, firstBytes }) => ({ name, ended: { ...NOTHING, ...ended }, firstBytes, lastError })),
          lastError,
        );
      });
    },
  };
}

const NOTHING: RecentUpstream['ended'] = { answered: 0, rejected: 0, denied: 0, rate_limited: 0, server_errors: 0, failed: 0, aborted: 0 };

/** The same upstream as several processes, or slots, have seen it. */
export function mergeRecent(name: string, parts: readonly RecentUpstream[], lastError: RecentUpstream['lastError'] = null): RecentUpstream {
  const ended = { ...NOTHING };
  const firstBytes: Record<number, number> = {};
  let latest = lastError;
  for (const part of parts) {
    for (const end of ATTEMPT_ENDS) ended[end] += part.ended[end];
    for (const [step, count] of Object.entries(part.firstBytes)) firstBytes[Number(step)] = (firstBytes[Number(step)] ?? 0) + count;
    if (part.lastError && (!latest || part.lastError.atMs > latest.atMs)) latest = part.lastError;
  }
  return { name, ended, firstBytes, lastError: latest };
}

/** What the upstream answered for, and what it did not do: a client that left or asked for nonsense says nothing about it. */
export function successOf({ ended }: RecentUpstream): { readonly tried: number; readonly good: number } {
  const bad = ended.denied + ended.rate_limited + ended.server_errors + ended.failed;
  return { tried: ended.answered + bad, good: ended.answered };
}

/** So long did at most this part of the first bytes take; exact to a tenth. Null without any. */
export function firstByteMs({ firstBytes }: RecentUpstream, part: number): number | null {
  const steps = Object.entries(firstBytes)
    .map(([step, count]) => [Number(step), count] as const)
    .sort(([a], [b]) => a - b);
  const all = steps.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [step, count] of steps) {
    seen += count;
    if (seen >= all * part) return Math.round(GROWTH ** step);
  }
  return null;
}

const GROWTH = 1.1;
const STEP_MAX = 160; // an hour and more

const stepOf = (ms: number): number => (ms <= 1 ? 0 : Math.min(STEP_MAX, Math.ceil(Math.log(ms) / Math.log(GROWTH) - 1e-9)));

function endOf(outcome: string, status: number): AttemptEnd {
  if (outcome === 'answered' || outcome === 'aborted') return outcome;
  if (!outcome.startsWith('status_')) return 'failed';
  if (status === 429) return 'rate_limited';
  if (status === 401 || status === 402 || status === 403) return 'denied';
  return status >= 500 ? 'server_errors' : 'rejected';
}

const isTheirs = (end: AttemptEnd): boolean => end !== 'answered' && end !== 'aborted' && end !== 'rejected';
