import type { Socket } from 'node:net';

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly headerLines: readonly string[];
  readonly body: Buffer;
}

/** Reads HTTP/1.1 requests from a socket one after the other, until `answer` says that the socket is of no further use. */
export async function readRequests(socket: Socket, answer: (request: RawRequest) => Promise<boolean>): Promise<void> {
  const reader = new Reader(socket);
  for (;;) {
    const head = await reader.until('\r\n\r\n');
    if (head === undefined) return void socket.end();
    const [first = '', ...headerLines] = head.toString('latin1').slice(0, -4).split('\r\n');
    const [method = '', path = ''] = first.split(' ');
    const headers = new Map(headerLines.map(splitHeader));
    const body = await readBody(reader, headers);
    if (body === undefined) return void socket.destroy();
    if (!(await answer({ method, path, headers, headerLines, body }))) return;
  }
}

function splitHeader(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}

async function readBody(reader: Reader, headers: ReadonlyMap<string, string>): Promise<Buffer | undefined> {
  if (headers.get('transfer-encoding')?.toLowerCase() !== 'chunked') return reader.take(Number(headers.get('content-length') ?? 0));
  const parts: Buffer[] = [];
  for (;;) {
    const line = await reader.until('\r\n');
    if (line === undefined) return undefined;
    const size = Number.parseInt(line.toString('latin1'), 16);
    const chunk = await reader.take(size + 2);
    if (chunk === undefined) return undefined;
    if (size === 0) return Buffer.concat(parts);
    parts.push(chunk.subarray(0, size));
  }
}

class Reader {
  private held = Buffer.alloc(0);
  private over = false;
  private wake: () => void = () => {};

  constructor(socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      this.held = Buffer.concat([this.held, bytes]);
      this.wake();
    });
    const end = () => {
      this.over = true;
      this.wake();
    };
    socket.on('end', end).on('close', end);
  }

  async until(mark: string): Promise<Buffer | undefined> {
    for (;;) {
      const at = this.held.indexOf(mark);
      if (at >= 0) return this.cut(at + mark.length);
      if (!(await this.more())) return undefined;
    }
  }

  async take(count: number): Promise<Buffer | undefined> {
    while (this.held.length < count) if (!(await this.more())) return undefined;
    return this.cut(count);
  }

  private cut(count: number): Buffer {
    const bytes = this.held.subarray(0, count);
    this.held = this.held.subarray(count);
    return bytes;
  }

  private async more(): Promise<boolean> {
    if (this.over) return false;
    await new Promise<void>((go) => {
      this.wake = go;
    });
    return true;
  }
}
