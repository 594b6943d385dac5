import { Line } from './line.js';

/**
 * Who starts when more ask than can be served. Requests start in the order in which they came, only so many in one turn of
 * the event loop, so that everything else (new connections, health checks, streams on their way) gets its turn within
 * milliseconds however many wait. A refusal costs almost as much as it saves, so it is only for those who would have to
 * wait for longer than their client would.
 */
export interface Turns<Waiter> {
  /** Starts this one now or later, or refuses it now. `sinceMs`: since when it has been waiting elsewhere. */
  take(waiter: Waiter, sinceMs?: number): void;
  waiting(): number;
}

export interface TurnsDeps<Waiter> {
  start(waiter: Waiter): void;
  refuse(waiter: Waiter): void;
  /** Asked before a late start: its client may have left. */
  isGone(waiter: Waiter): boolean;
  /** Told at the end of each turn; true asks for another one, whether or not somebody waits. */
  turned?(): boolean;
  nowMs(): number;
  readonly perTurn?: number;
  readonly waitMaxMs?: number;
}

/** A few milliseconds of work. */
const PER_TURN = 16;
const WAIT_MAX_MS = 5_000;

export function createTurns<Waiter>(deps: TurnsDeps<Waiter>): Turns<Waiter> {
  const { perTurn = PER_TURN, waitMaxMs = WAIT_MAX_MS } = deps;
  const queue = new Line<{ readonly waiter: Waiter; readonly sinceMs: number }>();
  let left = perTurn;
  let isArmed = false;

  const turn = (): void => {
    isArmed = false;
    left = perTurn;
    while (left > 0) {
      const next = queue.shift();
      if (!next) break;
      if (deps.isGone(next.waiter)) continue;
      left -= 1;
      deps.start(next.waiter);
    }
    const isAsked = deps.turned?.() ?? false;
    if (queue.length > 0 || isAsked) arm();
  };

  /** A turn is over when everything that was ready has been looked at. */
  const arm = (): void => {
    if (isArmed) return;
    isArmed = true;
    setImmediate(turn);
  };

  return {
    take: (waiter, since) => {
      const { head } = queue;
      if (head === undefined && left > 0) {
        left -= 1;
        // At ease nobody has to ask for the next turn with every request.
        if (left < perTurn / 2) arm();
        deps.start(waiter);
        return;
      }
      const nowMs = deps.nowMs();
      const sinceMs = since ?? nowMs;
      if (nowMs - Math.min(sinceMs, head?.sinceMs ?? nowMs) > waitMaxMs) deps.refuse(waiter);
      else {
        queue.push({ waiter, sinceMs });
        arm();
      }
    },
    waiting: () => queue.length,
  };
}
