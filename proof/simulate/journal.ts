import type { RequestId } from '../../src/domain/ids.js';
import type { HeldLine, SettledLine } from '../../src/gateway/journal-lines.js';

/** A gateway's journal in memory, with what a disk has: it outlives a crash, and its last line may be torn by one. */
export class SimulatedJournal {
  private lines: ({ readonly kind: 'h'; readonly line: HeldLine } | { readonly kind: 's'; readonly line: SettledLine })[] = [];
  private confirmedIds = new Set<RequestId>();
  private readonly settledIds = new Set<RequestId>();

  held(line: HeldLine): void {
    this.lines.push({ kind: 'h', line });
  }

  settled(line: SettledLine): void {
    this.lines.push({ kind: 's', line });
    this.settledIds.add(line.requestId);
  }

  confirmed(id: RequestId): void {
    this.confirmedIds.add(id);
    this.settledIds.delete(id);
  }

  /** Settlements not confirmed yet. */
  unconfirmed(): SettledLine[] {
    return this.replay().settled.filter(({ requestId }) => this.settledIds.has(requestId));
  }

  /** Every line not confirmed yet, the last of each request. */
  replay(): { readonly held: readonly HeldLine[]; readonly settled: readonly SettledLine[] } {
    const held = new Map<RequestId, HeldLine>();
    const settled = new Map<RequestId, SettledLine>();
    for (const { kind, line } of this.lines) {
      if (this.confirmedIds.has(line.requestId)) continue;
      if (kind === 's') settled.set(line.requestId, line);
      else held.set(line.requestId, line);
    }
    for (const id of settled.keys()) held.delete(id);
    return { held: [...held.values()], settled: [...settled.values()] };
  }

  /**
   * The process dies. With `torn` its last line was not finished. What was confirmed is known in memory only: after a
   * restart the lines of a segment that is still there are all open again; `dropped` says that it was deleted before.
   */
  crash(torn: boolean, dropped: boolean): RequestId | undefined {
    const lost = torn ? this.lines.pop()?.line.requestId : undefined;
    if (dropped) this.lines = this.lines.filter(({ line }) => !this.confirmedIds.has(line.requestId));
    this.confirmedIds = new Set();
    this.settledIds.clear();
    for (const { kind, line } of this.lines) if (kind === 's') this.settledIds.add(line.requestId);
    return lost;
  }

  /** What is still to be done about one request. */
  open(id: RequestId): { readonly settled: SettledLine | undefined; readonly held: HeldLine | undefined } {
    return this.confirmedIds.has(id) ? { settled: undefined, held: undefined } : this.last(id);
  }

  /** What the disk still says of one request. */
  last(id: RequestId): { readonly settled: SettledLine | undefined; readonly held: HeldLine | undefined } {
    let settled: SettledLine | undefined;
    let held: HeldLine | undefined;
    for (const { kind, line } of this.lines) {
      if (line.requestId !== id) continue;
      if (kind === 's') settled = line;
      else held = line;
    }
    return { settled, held };
  }
}
