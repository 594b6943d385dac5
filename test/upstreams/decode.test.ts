import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { brotliCompressSync, constants, gzip, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { UpstreamSettings } from '../../src/domain/settings.js';
import { type Failure, forward } from '../../src/upstreams/forward.js';
import { createUpstreams, type Upstreams } from '../../src/upstreams/upstreams.js';

let server: Server;
let answer: (res: ServerResponse) => void = () => undefined;
const open: Upstreams[] = [];

beforeAll(async () => {
  server = createServer((_req, res) => answer(res)).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => Promise.all(open.splice(0).map((one) => one.destroy())));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

interface Told {
  readonly bytes: number;
  readonly failure: Failure | null;
  /** Calls after the last one there may be. */
  readonly late: number;
}

/** One call, and everything the sink hears until long after its end. */
async function told(onData: (call: { abort(reason: string): void }) => void = () => undefined): Promise<Told> {
  const settings: UpstreamSettings = {
    ...{ name: 'one', baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, apiKey: null, headers: {} },
    ...{ models: [{ pattern: 'm', as: null }], priority: 0, retries: 0, concurrency: 0, includeUsage: true, builtin: false },
    timeouts: { connectMs: 5_000, firstByteMs: 5_000, idleMs: 5_000, totalMs: 0 },
  };
  const upstreams = createUpstreams([settings]);
  open.push(upstreams);
  const [upstream] = upstreams.all;
  if (!upstream) throw new Error('there is no upstream');
  let [bytes, late, isOver] = [0, 0, false];
  const failure = await new Promise<Failure | null>((resolve) => {
    const end = (how: Failure | null) => {
      if (isOver) late += 1;
      isOver = true;
      resolve(how);
    };
    const call = forward(
      upstream,
      { path: '/chat/completions', method: 'POST', headers: [], body: Buffer.from('{}') },
      {
        onHead: () => undefined,
        onData: (chunk) => {
          if (isOver) late += 1;
          bytes += chunk.length;
          if (!isOver) onData(call);
          return true;
        },
        onEnd: () => end(null),
        onFailure: end,
      },
    );
  });
  expect(upstream.inFlight).toBe(0);
  // Whatever a decoder still has comes with the turns of the thread that unpacks; another one that begins now ends after it.
  for (let i = 0; i < 3; i++) await promisify(gzip)(Buffer.alloc(1_000_000));
  return { bytes, failure, late };
}

/** Hard to pack, so that much arrives and much is still to be unpacked. */
const LONG = Buffer.from(Array.from({ length: 400_000 }, (_, i) => `${(i * 7919) % 1_000_003},`).join(''));
const packed =
  (bytes: Buffer, encoding: 'gzip' | 'br' = 'gzip') =>
  (res: ServerResponse) => {
    res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding });
    res.end(encoding === 'gzip' ? gzipSync(bytes) : brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } }));
  };

test('a packed answer arrives whole and unpacked', async () => {
  answer = packed(LONG);
  expect(await told()).toEqual({ bytes: LONG.length, failure: null, late: 0 });
});

test('after a packed answer has failed nothing more of it is told', async () => {
  answer = (res) => {
    res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    res.write(gzipSync(LONG), () => res.destroy());
  };
  expect(await told()).toMatchObject({ failure: { kind: 'reset', sent: true }, late: 0 });
});

test('after a packed answer was given up nothing more of it is told', async () => {
  answer = packed(LONG);
  const heard = await told((call) => call.abort('client_gone'));
  expect(heard).toMatchObject({ failure: { kind: 'aborted' }, late: 0 });
  expect(heard.bytes).toBeLessThan(LONG.length);
});

test.each(['gzip', 'br'] as const)('a bomb of %s is given up after a few megabytes', async (encoding) => {
  answer = packed(Buffer.alloc(80_000_000), encoding);
  const heard = await told();
  expect(heard).toMatchObject({ failure: { kind: 'bad_response' }, late: 0 });
  expect(heard.bytes).toBeLessThan(50_000_000);
});

test('a long answer that says the same for ever is no bomb', async () => {
  const events = Buffer.from(`data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"again "}}]}\n\n`.repeat(100_000));
  answer = (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' });
    for (let at = 0; at < events.length; at += 80_000) res.write(gzipSync(events.subarray(at, at + 80_000)));
    res.end();
  };
  expect(await told()).toEqual({ bytes: events.length, failure: null, late: 0 });
});

test.each(['zstd', 'gzip, gzip', 'deflate'])('what says it is %s and is not is a bad answer', async (encoding) => {
  answer = (res) => {
    res.writeHead(200, { 'content-encoding': encoding });
    res.end('plain');
  };
  expect(await told()).toMatchObject({ bytes: 0, failure: { kind: 'bad_response' }, late: 0 });
});
