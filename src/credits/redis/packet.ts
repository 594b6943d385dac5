import { Command } from 'ioredis';

const FIRST_BYTES = 16 * 1024;
/** What one large batch needed is not kept for ever. */
const KEPT_BYTES = 1024 * 1024;
const TWO_32 = 2 ** 32;
/** From here on the runtime's own copy is faster than a loop over characters, each of which asks what kind of text it is in. */
const LONG = 12;
const NOTHING = { bytes: 0, write: (): void => undefined };

/** What stands in front of a text in its part. */
export interface Front<T, P> {
  readonly bytes: number;
  write(packet: Packet, value: T, purse: P): void;
}

/** A call as bytes, in the protocol of Redis, written into a buffer that is used again. */
export class Packet {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  clear(): void {
    this.#at = 0;
    if (this.#bytes.length > KEPT_BYTES) this.#grow(FIRST_BYTES);
  }

  /** The first line: how many parts follow. */
  parts(count: number): void {
    this.ascii(`*${count}\r\n`);
  }

  /** A part of any text. */
  text(text: string): void {
    this.textAfter(NOTHING, undefined, undefined, text);
  }

  /** A part of any text, after what `before` writes. */
  textAfter<T, P>(before: Front<T, P>, value: T, purse: P, text: string): void {
    this.#need(text.length * 3 + before.bytes + 32);
    const start = this.#at;
    // Nearly always each character is one byte; if not, the length in front of them was wrong, and is written again.
    for (let length = text.length; ; ) {
      this.#at = start;
      this.head(before.bytes + length);
      before.write(this, value, purse);
      const written = this.#bytes.write(text, this.#at, 'utf8');
      this.#at += written;
      if (written === length) break;
      length = written;
    }
    this.end();
  }

  /** The beginning of a part of so many bytes; `end` closes it. */
  head(bytes: number): void {
    this.ascii(`$${bytes}\r\n`);
  }

  end(): void {
    this.#need(2);
    this.#bytes[this.#at] = 13;
    this.#bytes[this.#at + 1] = 10;
    this.#at += 2;
  }

  /** Characters below 128 only: ids, keys, digits. */
  ascii(text: string): void {
    const { length } = text;
    this.#need(length);
    if (length >= LONG) this.#bytes.write(text, this.#at, length, 'latin1');
    else for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = text.charCodeAt(i);
    this.#at += length;
  }

  bytes(bytes: Buffer): void {
    this.#need(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  u8(value: number): void {
    this.#need(1);
    this.#bytes[this.#at] = value;
    this.#at += 1;
  }

  f64(value: number): void {
    this.#need(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  /** A whole number, not negative, below 2^53. */
  i64(value: number): void {
    this.#need(8);
    this.#view.setUint32(this.#at, value % TWO_32, true);
    this.#view.setUint32(this.#at + 4, Math.floor(value / TWO_32), true);
    this.#at += 8;
  }

  /** What was written, as a command of the client; it must be sent and answered before this is written again. */
  command(name: string): Command {
    return new Packed(name, this.#bytes.subarray(0, this.#at));
  }

  #need(bytes: number): void {
    if (this.#at + bytes > this.#bytes.length) this.#grow(Math.max(this.#bytes.length * 2, this.#at + bytes));
  }

  #grow(bytes: number): void {
    const before = this.#bytes;
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
    this.#view = new DataView(this.#bytes.buffer);
    before.copy(this.#bytes, 0, 0, this.#at);
  }
}

/** A command whose bytes are ready, and whose answer is bytes: the client adds its timeout and its place in the queue. */
class Packed extends Command {
  readonly #bytes: Buffer;

  constructor(name: string, bytes: Buffer) {
    super(name, []);
    this.#bytes = bytes;
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }
}

/** Keys as parts of a call, in bytes: they are written again and again, and to copy them costs a third of writing a text. */
export const keyParts = (keys: readonly string[]): Buffer =>
  Buffer.from(keys.map((key) => `$${key.length}\r\n${key}\r\n`).join(''), 'latin1');
