import type { ServerResponse } from 'node:http';

/**
 * The body of an answer whose length nobody knows yet. Node carries a chunk to the socket in four pieces, which costs more than to
 * put them together first; here its length, its bytes and its end are one buffer. Make it after the headers are written.
 */
export class ChunkWriter {
  private readonly res: ServerResponse;
  /** Not for HTTP/1.0: there the end of the connection is the end of the body. */
  private readonly framed: boolean;

  constructor(res: ServerResponse) {
    this.res = res;
    this.framed = res.chunkedEncoding;
    res.chunkedEncoding = false; // the header says it already; from here on Node passes what it is given
  }

  write(bytes: Buffer): boolean {
    // A chunk of length 0 would be the end.
    if (bytes.length === 0) return true;
    return this.res.write(this.framed ? framed(bytes, NO_END) : bytes);
  }

  end(last: Buffer): void {
    if (!this.framed) this.res.end(last);
    else if (last.length === 0) this.res.end(END);
    else this.res.end(framed(last, END));
  }
}

const NO_END = Buffer.alloc(0);
const END = Buffer.from('0\r\n\r\n');
const DIGITS = Buffer.from('0123456789abcdef');
const CR = 13;
const LF = 10;

function framed(bytes: Buffer, end: Buffer): Buffer {
  const { length } = bytes;
  const digits = 8 - (Math.clz32(length) >> 2);
  const out = Buffer.allocUnsafe(digits + length + 4 + end.length);
  for (let at = digits - 1, rest = length; at >= 0; at--, rest >>>= 4) out[at] = DIGITS[rest & 15] as number;
  out[digits] = CR;
  out[digits + 1] = LF;
  out.set(bytes, digits + 2);
  const after = digits + 2 + length;
  out[after] = CR;
  out[after + 1] = LF;
  out.set(end, after + 2);
  return out;
}
