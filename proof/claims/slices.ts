import type { Allowance, Audit } from '../torture/audit.js';
import { addAudit, auditEntries, emptyAudit } from '../torture/audit.js';
import { sleep } from '../torture/fault.js';
import type { Entry, Load } from '../torture/load.js';
import type { Installation } from './installation.js';

/** A long run is checked in slices, so that it needs no more memory than a short one. */
export interface Slices {
  readonly total: Audit;
  /** Checks and forgets what has ended since the last time; everything, when asked for the last slice. */
  check(load: Pick<Load, 'take'>, isLast?: boolean): Promise<readonly Entry[]>;
}

/** A row is in Postgres this long after its request ended, unless something is wrong. */
const BOOKED_MS = 4_000;
const PATIENCE_MS = 90_000;

export function createSlices(site: Pick<Installation, 'postgres' | 'upstream'>, allowed: Allowance): Slices {
  const total = emptyAudit();
  return {
    total,
    check: async (load, isLast = false) => {
      const entries = load.take(isLast ? -1 : BOOKED_MS);
      const deadline = Date.now() + PATIENCE_MS;
      while (!haveEnded(site, entries) && Date.now() < deadline) await sleep(100);
      let audit = await auditEntries(site, entries, allowed);
      while (audit.lost + audit.drift > 0 && Date.now() < deadline) {
        await sleep(1_000);
        audit = await auditEntries(site, entries, allowed);
      }
      addAudit(total, audit);
      site.upstream.forget(entries.map(({ tag }) => tag));
      return entries;
    },
  };
}

/** The upstream's log comes by message from its own process, so it may still be on its way. */
function haveEnded({ upstream }: Pick<Installation, 'upstream'>, entries: readonly Entry[]): boolean {
  const tags = new Set(entries.map(({ tag }) => tag));
  return upstream.requests.every((seen) => seen.endedAtMs !== null || !tags.has(String(seen.json['user'])));
}
