import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ChunkWriter } from '../../src/gateway/chunks.js';

let server: Server;
let pieces: readonly Buffer[] = [];
beforeAll(async () => {
  server = createServer((_req, res) => {
    res.writeHead(200, ['content-type', 'text/event-stream']);
    const out = new ChunkWriter(res);
    for (const piece of pieces.slice(0, -1)) out.write(piece);
    out.end(pieces.at(-1) ?? Buffer.alloc(0));
  });
  await new Promise<void>((go) => server.listen(0, '127.0.0.1', go));
});
afterAll(() => new Promise((go) => server.close(go)));

/** All that the server says to these bytes until it closes. */
function said(request: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => socket.write(request));
    socket.on('data', (part) => parts.push(part));
    socket.on('end', () => resolve(Buffer.concat(parts)));
    socket.on('error', reject);
  });
}

const get = (version: string, connection: string): string => `GET / HTTP/${version}\r\nhost: here\r\nconnection: ${connection}\r\n\r\n`;

/** Reads chunks as RFC 9112 has them, strictly. */
function readChunks(wire: Buffer): { readonly chunks: readonly Buffer[]; readonly rest: Buffer } {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = wire.indexOf('\r\n', at);
    const size = wire.toString('latin1', at, line);
    expect(size).toMatch(/^(0|[1-9a-f][0-9a-f]*)$/);
    const start = line + 2;
    const end = start + Number.parseInt(size, 16);
    expect(wire.toString('latin1', end, end + 2)).toBe('\r\n');
    if (end === start) return { chunks, rest: wire.subarray(end + 2) };
    chunks.push(wire.subarray(start, end));
    at = end + 2;
  }
}

const afterHead = (wire: Buffer): Buffer => wire.subarray(wire.indexOf('\r\n\r\n') + 4);
const lengths = fc.array(fc.oneof(fc.constantFrom(0, 1, 15, 16, 17, 255, 256, 4_095, 4_096, 65_536), fc.nat(5_000)), { maxLength: 12 });

test('each piece is one chunk, none is the end but the last, and the connection serves the next request', async () => {
  await fc.assert(
    fc.asyncProperty(lengths, async (all) => {
      pieces = all.map((length, i) => Buffer.alloc(length, 33 + i));
      const wire = await said(get('1.1', 'keep-alive') + get('1.1', 'close'));
      const first = readChunks(afterHead(wire));
      const second = readChunks(afterHead(first.rest));
      for (const { chunks } of [first, second]) {
        expect(chunks.map(({ length }) => length)).toEqual(all.filter((length) => length > 0));
        expect(Buffer.concat(chunks).equals(Buffer.concat(pieces))).toBe(true);
      }
      expect(second.rest.length).toBe(0);
      expect(wire.toString('latin1').match(/transfer-encoding: chunked/gi)).toHaveLength(2);
    }),
    { numRuns: 60 },
  );
});

test('for HTTP/1.0 nothing is framed: the end of the connection is the end', async () => {
  pieces = ['one ', '', 'two ', 'three'].map((text) => Buffer.from(text));
  const wire = await said('GET / HTTP/1.0\r\n\r\n');
  expect(wire.toString('latin1')).not.toMatch(/transfer-encoding/i);
  expect(afterHead(wire).toString()).toBe('one two three');
});
