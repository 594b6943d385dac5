import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { newRequestId } from '../domain/ids.js';

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

/**
 * Hands a request that is not ours to the process that has the database, over a Unix socket. If that process is down the
 * answer is 503 and streams go on: nothing of ours depends on it.
 */
export function createOfficeRelay(socketPath: string): { handle(req: IncomingMessage, res: ServerResponse): void; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  return {
    handle: (req, res) => {
      const headers = Object.fromEntries(Object.entries(req.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
      headers['x-forwarded-for'] = req.socket.remoteAddress ?? '';
      const onward = request({ socketPath, agent, path: req.url, method: req.method, headers }, (answer) => {
        const back = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
        res.writeHead(answer.statusCode ?? 502, back);
        answer.pipe(res);
        answer.on('error', () => res.destroy());
      });
      onward.on('error', () => unavailable(res));
      res.on('close', () => onward.destroy());
      req.pipe(onward);
    },
    close: () => agent.destroy(),
  };
}

function unavailable(res: ServerResponse): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const id = newRequestId();
  const body = JSON.stringify({
    type: 'about:blank',
    title: 'Service unavailable',
    status: 503,
    code: 'management_unavailable',
    detail: 'The management side is not available right now. Requests on /v1 are not affected. Try again in a moment.',
    request_id: id,
  });
  res.writeHead(503, {
    'content-type': 'application/problem+json',
    'retry-after': '2',
    'x-request-id': id,
    'content-length': Buffer.byteLength(body),
  });
  res.end(body);
}
