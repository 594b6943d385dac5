import type { Customer } from '../product.js';
import type { Random } from '../random.js';
import { sleep } from '../torture/fault.js';
import { type Entry, type Load, startLoad } from '../torture/load.js';
import { planOf } from '../torture/plans.js';

/** Customers spread over all shards, of whom each wants one answer, and asks until there is one. */
export interface Everybody {
  /**
   * Half of them ask from now on; once they are served the others ask for the first time, at some moment of the next `overMs`.
   * Answers how long after `sinceMs` each of the first was served, and how long each of the others waited.
   */
  ask(sinceMs: number, overMs: number): Promise<Waited>;
  /** All they asked, to be checked like any other load. */
  readonly load: Pick<Load, 'take'>;
}

export interface Waited {
  readonly atOnce: readonly number[];
  readonly later: readonly number[];
  /** Answers other than 200 to those who asked later. */
  readonly refusedLater: number;
}

const GIVE_UP_MS = 60_000;

export function gather(url: string, customers: readonly Customer[], random: Random): Everybody {
  let entries: Entry[] = [];
  let asked = 0;
  const once = async ({ token }: Customer): Promise<number> => {
    const one = startLoad(
      { url, token, random },
      { prefix: `everybody-${asked++}`, atOnce: 1, most: 1, plan: (chance) => planOf('embedding', chance) },
    );
    await one.stop();
    entries.push(...one.entries);
    return one.entries[0]?.result?.status ?? 0;
  };
  /** When it was served, and how many answers came before that. */
  const untilServed = async (customer: Customer): Promise<{ readonly atMs: number; readonly refused: number }> => {
    const deadline = Date.now() + GIVE_UP_MS;
    for (let refused = 0; ; refused++) {
      if ((await once(customer)) === 200 || Date.now() > deadline) return { atMs: Date.now(), refused };
    }
  };
  return {
    ask: async (sinceMs, overMs) => {
      const half = Math.ceil(customers.length / 2);
      const first = customers.slice(0, half).map(async (customer) => (await untilServed(customer)).atMs - sinceMs);
      const atOnce = await Promise.all(first);
      const second = customers.slice(half).map(async (customer) => {
        await sleep(random.whole(0, overMs));
        const started = Date.now();
        const { atMs, refused } = await untilServed(customer);
        return { ms: atMs - started, refused };
      });
      const later = await Promise.all(second);
      return { atOnce, later: later.map(({ ms }) => ms), refusedLater: later.reduce((sum, { refused }) => sum + refused, 0) };
    },
    load: {
      take: () => {
        const taken = entries;
        entries = [];
        return taken;
      },
    },
  };
}
