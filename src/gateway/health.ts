import type { CreditStore } from '../credits/store.js';

/** Whether the money path works: asked once a second, so that a health check costs nothing and lies for a second at most. */
export interface Health {
  readonly ready: boolean;
  /** Plain words for people; never an address or a secret. */
  readonly detail: Readonly<Record<string, string>>;
  drain(): void;
  note(name: string, words: string | null): void;
  close(): void;
}

const LOOK_EVERY_MS = 500;
const LOOK_TIMEOUT_MS = 1_500;

export function createHealth(store: CreditStore): Health {
  const notes = new Map<string, string>();
  let isOpen = false;
  let isDraining = false;
  let words = 'starting';
  let busy = false;
  const look = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      const shards = await within(store.shards(), LOOK_TIMEOUT_MS);
      const shut = shards.filter(({ state }) => state !== 'open').length;
      isOpen = shards.length > 0 && shut === 0;
      words = isOpen ? 'open' : `${shut} of ${shards.length} shards are not loaded`;
    } catch {
      isOpen = false;
      words = 'unreachable';
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_EVERY_MS);
  timer.unref();
  look().catch(() => undefined);
  return {
    get ready() {
      return isOpen && !isDraining;
    },
    get detail() {
      return { credits: words, ...(isDraining ? { server: 'draining' } : {}), ...Object.fromEntries(notes) };
    },
    drain: () => {
      isDraining = true;
    },
    note: (name, said) => {
      if (said === null) notes.delete(name);
      else notes.set(name, said);
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
