import type { Socket } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import type { Answer, Cut } from './answers.js';

/** The body of one answer on its way to the socket: framing, splitting, cuts, and the exact record of what went out. */
export interface Outgoing {
  /** Bytes of body handed to the operating system, without framing. */
  readonly delivered: Buffer[];
  bytes: number;
  headersSent: boolean;
}

export class Broken extends Error {
  readonly how: Cut;
  constructor(how: Cut) {
    super(`the script says: ${how}`);
    this.how = how;
  }
}

export class ClientGone extends Error {}

export class AnswerWriter {
  readonly out: Outgoing = { delivered: [], bytes: 0, headersSent: false };
  private readonly socket: Socket;
  private readonly answer: Answer;
  private readonly type: string;
  private readonly framing: 'chunked' | 'length' | 'close';

  constructor(socket: Socket, answer: Answer, type: string, framing: 'chunked' | 'length' | 'close') {
    this.socket = socket;
    this.answer = answer;
    this.type = type;
    this.framing = answer.wire?.framing ?? framing;
  }

  /** True when the socket may carry another request afterwards. */
  get reusable(): boolean {
    return this.framing !== 'close';
  }

  async head(length?: number): Promise<void> {
    if (this.out.headersSent) return;
    this.out.headersSent = true;
    const given = this.answer.headers ?? [];
    const lines = [`HTTP/1.1 ${this.answer.status ?? 200} Scripted`];
    if (!given.some(([name]) => name.toLowerCase() === 'content-type')) lines.push(`Content-Type: ${this.type}`);
    for (const [name, value] of given) lines.push(`${name}: ${value}`);
    if (this.answer.wire?.encoding) lines.push(`Content-Encoding: ${this.answer.wire.encoding}`);
    const claimed = this.answer.wire?.contentLength ?? (this.framing === 'length' ? length : undefined);
    if (claimed !== undefined) lines.push(`Content-Length: ${claimed}`);
    else if (this.framing !== 'close') lines.push('Transfer-Encoding: chunked');
    else lines.push('Connection: close');
    await this.push(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8'));
  }

  /** A whole body, compressed if the script says so. */
  async whole(body: Buffer): Promise<void> {
    const encoded = encode(body, this.answer.wire?.encoding);
    await this.head(encoded.length);
    await this.body(encoded);
  }

  /** Part of a stream. Compressed, each part is a gzip member of its own, which readers must join. */
  async part(bytes: Buffer): Promise<void> {
    await this.body(encode(bytes, this.answer.wire?.encoding));
  }

  private async body(bytes: Buffer): Promise<void> {
    await this.head();
    const cut = this.answer.wire?.cut;
    const allowed = cut ? Math.max(0, Math.min(bytes.length, cut.after - this.out.bytes)) : bytes.length;
    for (const piece of this.pieces(bytes.subarray(0, allowed))) {
      await this.push(this.framed(piece));
      this.out.delivered.push(piece);
      this.out.bytes += piece.length;
      if (this.answer.wire?.dripMs) await new Promise((go) => setTimeout(go, this.answer.wire?.dripMs));
    }
    if (cut && this.out.bytes >= cut.after) throw new Broken(cut.how);
  }

  async finish(): Promise<void> {
    await this.head(0);
    if (this.framing === 'chunked' && this.answer.wire?.contentLength === undefined) await this.push(Buffer.from('0\r\n\r\n'));
    if (this.framing === 'close') this.socket.end();
  }

  async push(bytes: Buffer): Promise<void> {
    if (this.socket.destroyed || this.socket.readableEnded) throw new ClientGone();
    await new Promise<void>((done, fail) => {
      const gone = () => fail(new ClientGone());
      this.socket.once('close', gone);
      this.socket.write(bytes, (error) => {
        this.socket.off('close', gone);
        if (error) fail(new ClientGone());
        else done();
      });
    });
  }

  private framed(piece: Buffer): Buffer {
    if (this.framing !== 'chunked' || this.answer.wire?.contentLength !== undefined) return piece;
    return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
  }

  private *pieces(bytes: Buffer): Generator<Buffer> {
    const split = this.answer.wire?.split;
    if (bytes.length === 0) return;
    if (split === undefined) {
      yield bytes;
    } else if (typeof split === 'number') {
      for (let at = 0; at < bytes.length; at += split) yield bytes.subarray(at, at + split);
    } else {
      const start = this.out.bytes;
      const cuts = split.map((offset) => offset - start).filter((offset) => offset > 0 && offset < bytes.length);
      let from = 0;
      for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
        if (to > from) yield bytes.subarray(from, to);
        from = to;
      }
    }
  }
}

function encode(body: Buffer, encoding: 'gzip' | 'br' | 'deflate' | undefined): Buffer {
  if (encoding === 'gzip') return gzipSync(body);
  if (encoding === 'br') return brotliCompressSync(body);
  if (encoding === 'deflate') return deflateSync(body);
  return body;
}
