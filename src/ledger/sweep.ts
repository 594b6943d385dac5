import type { CreditStore } from '../credits/store.js';
import { SHARDS } from '../domain/ids.js';
import { orphaned } from './event.js';
import { pause } from './pause.js';

export interface Sweep {
  /** Looks at every shard once; answers how many requests were ended. */
  step(): Promise<{ readonly swept: number; readonly away: boolean }>;
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Ends requests whose owner vanished with what they had earned by then. Needs no leader: each settlement re-checks the
 * deadline by the store's own clock, and ending a request twice is the same as ending it once. Works while Postgres is away.
 */
export function createSweep(options: {
  readonly store: CreditStore;
  readonly limit?: number;
  readonly everyMs?: number;
  readonly onSwept?: (requestId: string) => void;
  readonly onError?: (error: unknown) => void;
}): Sweep {
  const { store, limit = 200, everyMs = 1_000 } = options;

  const sweepShard = async (shard: string): Promise<number> => {
    let swept = 0;
    for (const hold of await store.due(shard, limit)) {
      const answer = await store.settle({
        requestId: hold.requestId,
        orgId: hold.orgId,
        tokenId: hold.tokenId,
        kind: 'floor',
        cost: hold.floor,
        event: orphaned(hold),
        ifDue: true,
      });
      if (answer.kind === 'unavailable') throw new Error(`the credit store is ${answer.reason}`);
      if (answer.kind === 'settled' && !answer.repeated) {
        swept += 1;
        options.onSwept?.(hold.requestId);
      }
    }
    return swept;
  };

  const step = async () => {
    const shards = Array.from({ length: SHARDS }, (_, i) => String(i).padStart(2, '0'));
    const results = await Promise.allSettled(shards.map(sweepShard));
    let swept = 0;
    let away = false;
    for (const result of results) {
      if (result.status === 'fulfilled') swept += result.value;
      else {
        away = true;
        options.onError?.(result.reason);
      }
    }
    return { swept, away };
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await step();
      await pause(everyMs, signal);
    }
  };
  return { step, run };
}
