import { performance } from 'node:perf_hooks'; // the global one is looked up again at every call

/** Time as the product sees it; tests and the simulator hand in their own. */
export interface Clock {
  /** Milliseconds since 1970, UTC. */
  nowMs(): number;
}

export const systemClock: Clock = { nowMs: () => Date.now() };

/**
 * Milliseconds on a clock that nobody sets: for how long something takes and how long it may take, never for a date. A server's
 * time of day is set back and forth by whoever keeps it; leases, limits and waiting must not go with it.
 */
export const monotonicMs = (): number => Math.floor(performance.now());

export const steadyClock: Clock = { nowMs: monotonicMs };
