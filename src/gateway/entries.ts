import type { OrgId, RequestId } from '../domain/ids.js';

/** A file of the journal; `open` counts the requests whose last line is in it. */
export interface Segment {
  readonly path: string;
  bytes: number;
  open: number;
}

/**
 * One request until it is booked. It goes along with the request instead of being looked up by its id: maps through which
 * thousands of ids pass a second keep what was in them alive long after it is gone.
 */
export interface Entry {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  /** Where its last line is; null once it is confirmed. */
  segment: Segment | null;
  settled: boolean;
  /** Kept by the outbox: its settlement is being sent. */
  onItsWay: boolean;
  /** Kept by the outbox: the epoch under which the store took it. */
  takenUnder: string | undefined;
}

export const newEntry = ({ requestId, orgId }: Pick<Entry, 'requestId' | 'orgId'>): Entry => ({
  requestId,
  orgId,
  segment: null,
  settled: false,
  onItsWay: false,
  takenUnder: undefined,
});

/** What is settled and not confirmed, and what the last life of this process left behind. */
export class Entries {
  private readonly byOrg = new Map<OrgId, Entry[]>();
  private readonly adopted = new Map<RequestId, Entry>();

  adopt(line: Pick<Entry, 'requestId' | 'orgId'>): Entry {
    const known = this.adopted.get(line.requestId);
    if (known) return known;
    const entry = newEntry(line);
    this.adopted.set(line.requestId, entry);
    return entry;
  }

  settle(entry: Entry): void {
    if (entry.settled) return;
    entry.settled = true;
    const list = this.byOrg.get(entry.orgId);
    if (list) list.push(entry);
    else this.byOrg.set(entry.orgId, [entry]);
  }

  forget(entry: Entry): void {
    if (this.adopted.size > 0) this.adopted.delete(entry.requestId);
  }

  /** Confirmed ones are dropped here, all at once, rather than one by one. */
  unconfirmed(): ReadonlyMap<OrgId, readonly Entry[]> {
    for (const [orgId, list] of this.byOrg) {
      const left = list.filter(({ segment }) => segment !== null);
      if (left.length === 0) this.byOrg.delete(orgId);
      else if (left.length < list.length) this.byOrg.set(orgId, left);
    }
    return this.byOrg;
  }

  byId(): ReadonlyMap<RequestId, Entry> {
    const found = new Map(this.adopted);
    for (const list of this.unconfirmed().values()) for (const entry of list) found.set(entry.requestId, entry);
    return found;
  }
}
