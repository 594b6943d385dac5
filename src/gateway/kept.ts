import { finderOf } from './search.js';

/** More than this is kept as it came; less is put together, because a buffer of its own costs more than what is in it. */
const SMALL_BYTES = 4 * 1024;
const SLAB_FIRST_BYTES = 1024;
const SLAB_BYTES_MAX = 64 * 1024;

/** What a client was given, for counting it afterwards. A stream that comes in small pieces takes little more than its bytes. */
export class Kept {
  bytes = 0;
  private readonly full: Buffer[] = [];
  private slab: Buffer | null = null;
  private used = 0;
  /** In slabs since the last large piece. Each new slab is as large as all before it, so at most about half is waste. */
  private together = 0;
  private events = 0;
  private countedPieces = 0;
  private countedBytes = 0;

  add(bytes: Buffer): void {
    this.bytes += bytes.length;
    if (bytes.length > SMALL_BYTES) {
      this.closeSlab();
      this.together = 0;
      this.full.push(bytes);
      return;
    }
    const slab = this.room(bytes.length);
    slab.set(bytes, this.used);
    this.used += bytes.length;
    this.together += bytes.length;
  }

  /** In the order in which they were given. */
  pieces(): readonly Buffer[] {
    return this.slab ? [...this.full, this.slab.subarray(0, this.used)] : this.full;
  }

  /** Server-sent events in it; each call looks only at what is new. */
  eventsSoFar(): number {
    const pieces = this.pieces();
    for (let i = this.countedPieces; i < pieces.length; i++) {
      const piece = pieces[i] as Buffer;
      this.events += countEvents(piece, i === this.countedPieces ? this.countedBytes : 0);
      this.countedPieces = i;
      this.countedBytes = piece.length;
    }
    return this.events;
  }

  private room(bytes: number): Buffer {
    if (this.slab && this.slab.length - this.used >= bytes) return this.slab;
    this.closeSlab();
    const size = Math.min(SLAB_BYTES_MAX, Math.max(SLAB_FIRST_BYTES, this.together, bytes));
    this.slab = Buffer.allocUnsafeSlow(size);
    return this.slab;
  }

  private closeSlab(): void {
    if (this.slab) this.full.push(this.slab.subarray(0, this.used));
    this.slab = null;
    this.used = 0;
  }
}

const findData = finderOf('data:');

export function countEvents(bytes: Buffer, from = 0): number {
  let count = 0;
  for (let at = findData(bytes, from); at >= 0; at = findData(bytes, at + 5)) count += 1;
  return count;
}
