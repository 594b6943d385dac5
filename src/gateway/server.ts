import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import { newRequestId } from '../domain/ids.js';
import { SEALED } from '../domain/sealed.js';
import type { GatewaySettings } from '../domain/settings.js';
import { badRequest, errorBody, type GatewayError, sendError, wrongMethod } from './errors.js';

/** An HTTP server whose every wait and buffer has a bound, and which refuses what two parsers could read in two ways. */
export function createHttpServer(settings: GatewaySettings, listener: RequestListener): Server {
  const server = createServer(
    {
      maxHeaderSize: settings.headerBytesMax,
      headersTimeout: settings.headersTimeoutMs,
      requestTimeout: settings.requestTimeoutMs,
      connectionsCheckingInterval: 2_000,
      keepAliveTimeout: 65_000,
      requireHostHeader: false, // Node's own refusal has no body and no request id; ours has
      joinDuplicateHeaders: false,
      insecureHTTPParser: false,
    },
    (req, res) => {
      const problem = framingProblem(req);
      if (problem) refuse(req, res, problem);
      else listener(req, res);
    },
  );
  if (settings.connectionsMax > 0) server.maxConnections = settings.connectionsMax;
  if (settings.connectionsPerAddressMax > 0) capPerAddress(server, settings.connectionsPerAddressMax);
  server.maxHeadersCount = 200;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || socket.destroyed) return socket.destroy();
    if (refused.has(socket)) return; // it has its answer; what follows in its bytes gets no second one
    return socket.end(refusalBytes(UNREADABLE.get(error.code ?? '') ?? MALFORMED));
  });
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => refuse(req, res, EXPECTATION));
  return server;
}

/** Closed without a word, as beyond `connections_max`: whoever opens so many is not waiting for an explanation. */
function capPerAddress(server: Server, max: number): void {
  const open = new Map<string, number>();
  server.prependListener('connection', (socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (open.get(address) ?? 0) + 1;
    if (count > max) {
      socket.destroy();
      return;
    }
    open.set(address, count);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left > 0) open.set(address, left);
      else open.delete(address);
    });
  });
}

const MALFORMED = badRequest(
  'This is not a request that can be read in one way only. Check its first line, headers and lengths.',
  'bad_http',
);
const EXPECTATION: GatewayError = {
  ...badRequest("The only Expect header accepted here is '100-continue'.", 'bad_expectation'),
  status: 417,
};
const UNREADABLE = new Map<string, GatewayError>([
  ['HPE_HEADER_OVERFLOW', { ...badRequest('The headers of this request are too large.', 'headers_too_large'), status: 431 }],
  ['ERR_HTTP_REQUEST_TIMEOUT', { ...badRequest('The request did not arrive in time.', 'request_timeout'), status: 408 }],
]);

/** An answer for what never became a request: written by hand, because there is no response object to write it with. */
function refusalBytes(problem: GatewayError): string {
  const id = newRequestId();
  const body = errorBody(problem, id);
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    ...Object.entries(SEALED).map(([name, value]) => `${name}: ${value}`),
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

/** Two Hosts, an unusual Transfer-Encoding and TRACE pass Node's parser; they do not pass us. */
function framingProblem(req: IncomingMessage): GatewayError | null {
  const encoding = req.headers['transfer-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') {
    return badRequest("The only Transfer-Encoding accepted here is 'chunked'.", 'bad_transfer_encoding');
  }
  if (req.method === 'TRACE' || req.method === 'CONNECT') return wrongMethod(req.method, 'GET, POST');
  const hosts = countHosts(req.rawHeaders);
  if (hosts > 1) return badRequest('The request names two hosts.', 'duplicate_host');
  return hosts === 0 && req.httpVersion === '1.1' ? badRequest('The request names no host.', 'missing_host') : null;
}

function countHosts(raw: readonly string[]): number {
  let hosts = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return hosts;
}

/** Connections that are about to be closed after a refusal. */
const refused = new WeakSet<object>();

/** Whatever else is in the connection cannot be trusted to start where we think it does. */
function refuse(req: IncomingMessage, res: ServerResponse, problem: GatewayError): void {
  refused.add(req.socket);
  sendError(res, problem, newRequestId(), { connection: 'close' });
  res.on('finish', () => req.socket.destroy());
}
