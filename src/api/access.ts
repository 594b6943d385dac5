import { readAccessVersion } from '../accounts/roles/accessVersion.js';
import type { ApiDeps } from './deps.js';
import type { Caller } from './route.js';

/** Watches over answers that take long: whoever was removed, demoted or revoked meanwhile gets no more of them. */
export interface Access {
  follow(caller: Caller): Follower;
}

export interface Follower {
  /** Who is reading, as things stand now; null once they may not any more. */
  now(): Promise<Caller | null>;
}

/** All readers share one look at the version; together with asking who somebody is, this stays well below a second. */
const LOOK_MS = 400;
/** Sessions and keys also end by the clock, which changes no version. */
const ASK_MS = 15_000;

export function createAccess(deps: Pick<ApiDeps, 'db' | 'clock'>): Access {
  let looked: { readonly atMs: number; readonly version: Promise<number> } | undefined;
  const version = (): Promise<number> => {
    const nowMs = deps.clock.nowMs();
    if (!looked || nowMs - looked.atMs >= LOOK_MS || nowMs < looked.atMs) looked = { atMs: nowMs, version: readAccessVersion(deps.db) };
    return looked.version;
  };
  return { follow: (caller) => follow(caller, version, deps.clock.nowMs) };
}

function follow(caller: Caller, version: () => Promise<number>, nowMs: () => number): Follower {
  let current: Caller | null = caller;
  let seen: number | undefined;
  let askedAtMs = nowMs();
  return {
    now: async () => {
      if (current === null) return null;
      // While the books are away nobody can be removed either, so what was so goes on.
      const found = await version().catch(() => seen);
      if (found === seen && nowMs() - askedAtMs < ASK_MS) return current;
      const before: Caller = current;
      current = await before.again().catch(() => before);
      [seen, askedAtMs] = [found, nowMs()];
      return current;
    },
  };
}

/** A file that breaks off is not mistaken for a whole one, as one that ends early would be. */
export async function* asLongAsAllowed<Page>(follower: Follower, pages: AsyncIterable<Page>): AsyncGenerator<Page> {
  for await (const page of pages) {
    if ((await follower.now()) === null) throw new Error('whoever asked for this export may no longer see it');
    yield page;
  }
}
