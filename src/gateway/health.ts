import type { ShardWatch } from './shards.js';

/** Whether the money path works, as of half a second ago: a health check costs nothing. */
export interface Health {
  readonly ready: boolean;
  /** Plain words for people; never an address or a secret. */
  readonly detail: Readonly<Record<string, string>>;
  drain(): void;
  note(name: string, words: string | null): void;
}

export function createHealth(shards: ShardWatch): Health {
  const notes = new Map<string, string>();
  let isDraining = false;
  const shut = (): number | null => (shards.states ? shards.states.filter(({ state }) => state !== 'open').length : null);
  const words = (): string => {
    const count = shut();
    if (count === null) return 'the hot store does not answer';
    return count === 0 ? 'open' : `${count} of ${shards.states?.length} shards are not loaded yet`;
  };
  return {
    get ready() {
      return shut() === 0 && !isDraining;
    },
    get detail() {
      return { credits: words(), ...(isDraining ? { server: 'draining' } : {}), ...Object.fromEntries(notes) };
    },
    drain: () => {
      isDraining = true;
    },
    note: (name, said) => {
      if (said === null) notes.delete(name);
      else notes.set(name, said);
    },
  };
}
