import type { IncomingMessage } from 'node:http';
import { type GatewayError, tooLarge } from './errors.js';

export type Read =
  | { readonly kind: 'body'; readonly bytes: Buffer }
  | { readonly kind: 'refused'; readonly error: GatewayError }
  /** The client left before its request was whole: nobody is there to be answered. */
  | { readonly kind: 'gone' };

/** Reads a body once, whole, never more than `max` bytes of it. */
export function readBody(req: IncomingMessage, max: number): Promise<Read> {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') return Promise.resolve({ kind: 'refused', error: encoded(encoding) });
  const length = req.headers['content-length'];
  if (length !== undefined && Number(length) > max) return Promise.resolve({ kind: 'refused', error: tooLarge(max) });
  return new Promise((resolve) => {
    const gathered = new Gathered(length === undefined ? 0 : Number(length));
    let isWhole = false;
    req.on('data', (part: Buffer) => {
      if (gathered.bytes + part.length > max) {
        req.pause();
        gathered.drop();
        resolve({ kind: 'refused', error: tooLarge(max) });
      } else gathered.add(part);
    });
    req.on('end', () => {
      isWhole = true;
      resolve({ kind: 'body', bytes: gathered.whole() });
    });
    req.on('error', () => resolve({ kind: 'gone' }));
    req.on('close', () => {
      // To be resolved again costs a call across the runtime, and every request is closed in the end.
      if (!isWhole) resolve({ kind: 'gone' });
    });
  });
}

/** From here on threads read it, and a copy for each of them would take milliseconds of everybody's. */
const SHARED_BYTES_MIN = 256 * 1024;

/** The parts of a body. A large one is put where it will stand, and threads can see it, as it comes: not all of it at the end. */
class Gathered {
  bytes = 0;
  private parts: Buffer[] = [];
  private room: Buffer | null = null;
  private readonly stated: number;

  constructor(stated: number) {
    this.stated = stated;
  }

  add(part: Buffer): void {
    if (this.room) this.room.set(part, this.bytes);
    else this.parts.push(part);
    this.bytes += part.length;
    // Only when some of it is there: whoever states megabytes and sends nothing is given nothing.
    if (!this.room && this.bytes > SHARED_BYTES_MIN && this.stated >= this.bytes) this.makeRoom(this.stated);
  }

  drop(): void {
    this.parts = [];
    this.room = null;
  }

  whole(): Buffer {
    if (this.bytes > SHARED_BYTES_MIN && !this.room) this.makeRoom(this.bytes);
    if (this.room) return this.room.subarray(0, this.bytes);
    const [only] = this.parts;
    return this.parts.length === 1 && only ? only : Buffer.concat(this.parts);
  }

  private makeRoom(bytes: number): void {
    try {
      this.room = Buffer.from(new SharedArrayBuffer(bytes));
    } catch {
      return; // No memory for that; the parts are there all the same.
    }
    let at = 0;
    for (const part of this.parts) {
      this.room.set(part, at);
      at += part.length;
    }
    this.parts = [];
  }
}

const encoded = (encoding: string): GatewayError => ({
  status: 415,
  type: 'invalid_request_error',
  code: 'unsupported_content_encoding',
  message: `A body with Content-Encoding '${encoding.slice(0, 40)}' is not read here. Send it plain.`,
  headers: { connection: 'close' },
});
