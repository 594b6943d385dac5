import type { OrgId, RequestId } from '../domain/ids.js';
import { breathe } from './breathe.js';

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
  /** To be said again: who promised it is gone, or the store that took it. */
  again: boolean;
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
  again: false,
  onItsWay: false,
  takenUnder: undefined,
});

/** What is wanted of one segment. */
export type Wanted = ReadonlyMap<Segment, ReadonlyMap<RequestId, Entry>>;

const AT_ONCE = 2_000;
const COMPACT_FROM = 4_096;

/** What is settled and not confirmed, and what the last life of this process left behind. */
export class Entries {
  /** Settlements in the order in which they are asked about; before `at` are those that had their turn. */
  private queue: Entry[] = [];
  private at = 0;
  private count = 0;
  private readonly adopted = new Map<RequestId, Entry>();

  /** Settlements that are not confirmed. */
  get unconfirmed(): number {
    return this.count;
  }

  adopt(line: Pick<Entry, 'requestId' | 'orgId'>): Entry {
    const known = this.adopted.get(line.requestId);
    if (known) return known;
    const entry = newEntry(line);
    entry.again = true;
    this.adopted.set(line.requestId, entry);
    return entry;
  }

  /** Which of these the last life left. */
  known(requestIds: readonly RequestId[]): readonly Entry[] {
    return requestIds.flatMap((requestId) => this.adopted.get(requestId) ?? []);
  }

  settle(entry: Entry): void {
    if (entry.settled) return;
    entry.settled = true;
    this.count += 1;
    this.queue.push(entry);
  }

  forget(entry: Entry): void {
    if (entry.settled) this.count -= 1;
    if (this.adopted.size > 0) this.adopted.delete(entry.requestId);
  }

  /** The next to ask about, oldest first; each comes again when all others have had their turn. Confirmed ones are dropped. */
  next(limit: number): readonly Entry[] {
    const found: Entry[] = [];
    for (let left = this.queue.length - this.at; left > 0 && found.length < limit; left--) {
      const entry = this.queue[this.at++];
      if (!entry?.segment) continue;
      this.queue.push(entry);
      found.push(entry);
    }
    if (this.at >= COMPACT_FROM && this.at * 2 >= this.queue.length) {
      this.queue = this.queue.slice(this.at);
      this.at = 0;
    }
    return found;
  }

  /** Of everything not confirmed what `isWanted`, by the segment in which its last line is. A long list takes several turns. */
  async wanted(isWanted: (entry: Entry) => boolean): Promise<Wanted> {
    const wanted = new Map<Segment, Map<RequestId, Entry>>();
    let seen = 0;
    for (const entry of [...this.adopted.values(), ...this.queue.slice(this.at)]) {
      if (++seen % AT_ONCE === 0) await breathe();
      if (!entry.segment || !isWanted(entry)) continue;
      const ofSegment = wanted.get(entry.segment);
      if (ofSegment) ofSegment.set(entry.requestId, entry);
      else wanted.set(entry.segment, new Map([[entry.requestId, entry]]));
    }
    return wanted;
  }
}
