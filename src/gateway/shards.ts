import type { CreditStore, ShardState } from '../credits/store.js';

/** What the hot store's shards look like, asked four times a second for everybody in this process who wants to know. */
export interface ShardWatch {
  /** Null while the store does not answer. */
  readonly states: readonly ShardState[] | null;
  /** Called after every look that was answered. */
  onLook(listener: (states: readonly ShardState[]) => void): void;
  close(): void;
}

const LOOK_EVERY_MS = 250;
const LOOK_TIMEOUT_MS = 1_500;

export function watchShards(store: CreditStore): ShardWatch {
  const listeners: ((states: readonly ShardState[]) => void)[] = [];
  let states: readonly ShardState[] | null = null;
  let busy = false;
  const look = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      states = await within(store.shards(), LOOK_TIMEOUT_MS);
      for (const listener of listeners) listener(states);
    } catch {
      states = null;
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  timer.unref();
  void look();
  return {
    get states() {
      return states;
    },
    onLook: (listener) => {
      listeners.push(listener);
    },
    close: () => clearInterval(timer),
  };
}

function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('timeout')), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
