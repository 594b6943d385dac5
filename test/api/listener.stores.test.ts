import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { apiListener } from '../../src/api/app.js';
import { OPERATOR_KEY, useApi } from './harness.js';

const api = useApi();
let server: Server;

beforeAll(async () => {
  server = createServer(apiListener(api.app)).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Bytes as no client library would send them. */
async function raw(head: string, body = ''): Promise<string> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const parts: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => parts.push(bytes));
  socket.on('error', () => undefined);
  socket.write(`${head}\r\nConnection: close\r\nAuthorization: Bearer ${OPERATOR_KEY}\r\n\r\n${body}`);
  await once(socket, 'close');
  return Buffer.concat(parts).toString();
}

test.each([
  ['GET //api/v1/admin/orgs HTTP/1.1\r\nHost: x', 404],
  ['GET /api/v1/admin%2forgs HTTP/1.1\r\nHost: x', 404],
  ['GET /api/v1/admin/orgs;x HTTP/1.1\r\nHost: x', 404],
  ['GET /api/v1/%zz HTTP/1.1\r\nHost: x', 404],
  ['GET /api/v1/admin/orgs?limit=%zz HTTP/1.1\r\nHost: x', 400],
  ['GET /api/v1/admin/orgs HTTP/1.1\r\nHost: evil host/', 400],
  ['GET /api/v1/admin/orgs HTTP/1.1\r\nHost: a@b:99999', 400],
  ['PUT /api/v1/admin/orgs HTTP/1.1\r\nHost: x', 405],
  ['POST /api/v1/admin/orgs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999', 413],
])('%s → %d, as problem+json', async (head, status) => {
  const answer = await raw(head);
  expect(answer.split('\r\n')[0]).toContain(`HTTP/1.1 ${status} `);
  expect(answer.toLowerCase()).toContain('content-type: application/problem+json');
  expect(answer.toLowerCase()).toContain('x-request-id: req_');
  expect(answer.toLowerCase()).not.toMatch(/x-powered-by|\nserver:|node_modules/);
});

test('a body that is larger than it may be, in chunks, is not read to its end', async () => {
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
  const answer = await raw(
    'POST /api/v1/admin/orgs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked',
    chunk.repeat(20),
  );
  expect(answer.split('\r\n')[0]).toContain(' 413 ');
});
