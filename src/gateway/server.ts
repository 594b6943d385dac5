import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { newRequestId } from '../domain/ids.js';
import type { GatewaySettings } from '../domain/settings.js';
import { badRequest, type GatewayError, sendError, wrongMethod } from './errors.js';

/** An HTTP server whose every wait and buffer has a bound, and which refuses what two parsers could read in two ways. */
export function createHttpServer(settings: GatewaySettings, listener: RequestListener): Server {
  const server = createServer(
    {
      maxHeaderSize: settings.headerBytesMax,
      headersTimeout: settings.headersTimeoutMs,
      requestTimeout: settings.requestTimeoutMs,
      connectionsCheckingInterval: 2_000,
      keepAliveTimeout: 65_000,
      requireHostHeader: true,
      joinDuplicateHeaders: false,
      insecureHTTPParser: false,
    },
    (req, res) => {
      const problem = framingProblem(req);
      if (problem) refuse(req, res, problem);
      else listener(req, res);
    },
  );
  server.maxConnections = settings.connectionsMax;
  server.maxHeadersCount = 200;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || socket.destroyed) return socket.destroy();
    const status = STATUS.get(error.code ?? '') ?? '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    return socket;
  });
  return server;
}

const STATUS = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
]);

/** Two Hosts, an unusual Transfer-Encoding and TRACE pass Node's parser; they do not pass us. */
function framingProblem(req: IncomingMessage): GatewayError | null {
  const encoding = req.headers['transfer-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') {
    return badRequest("The only Transfer-Encoding accepted here is 'chunked'.", 'bad_transfer_encoding');
  }
  if (req.method === 'TRACE' || req.method === 'CONNECT') return wrongMethod(req.method, 'GET, POST');
  return countHosts(req.rawHeaders) > 1 ? badRequest('The request names two hosts.', 'duplicate_host') : null;
}

function countHosts(raw: readonly string[]): number {
  let hosts = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return hosts;
}

/** Whatever else is in the connection cannot be trusted to start where we think it does. */
function refuse(req: IncomingMessage, res: ServerResponse, problem: GatewayError): void {
  sendError(res, problem, newRequestId(), { connection: 'close' });
  res.on('finish', () => req.socket.destroy());
}
