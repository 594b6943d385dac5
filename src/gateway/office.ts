import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request, type ServerResponse } from 'node:http';
import { monotonicMs } from '../domain/clock.js';
import { newRequestId } from '../domain/ids.js';
import { SEALED } from '../domain/sealed.js';
import { addressOf } from './peer.js';

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

/** An office that ends for another one is back within seconds: better a late answer than a refusal. If it stays away, that is said at once. */
const PATIENCE_MS = 4_000;
const TRY_AGAIN_MS = 100;
const NOT_THERE = new Set(['ENOENT', 'ECONNREFUSED']);

/**
 * Hands a request that is not ours to the process that has the database, over a Unix socket. If that process is down the
 * answer is 503 and streams go on: nothing of ours depends on it.
 */
export function createOfficeRelay(
  socketPath: string,
  { trustedProxies, patienceMs = PATIENCE_MS }: { readonly trustedProxies: readonly string[]; readonly patienceMs?: number },
): { handle(req: IncomingMessage, res: ServerResponse): void; close(): void } {
  // A connection each: one that is kept may be closed just when the next request goes into it.
  const agent = new Agent({ keepAlive: false, maxSockets: 64 });
  let awaySinceMs: number | null = monotonicMs();
  const attempt = (req: IncomingMessage, res: ServerResponse, headers: OutgoingHttpHeaders): void => {
    if (res.destroyed) return;
    const onward = request({ socketPath, agent, path: req.url, method: req.method, headers }, (answer) => {
      const back = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
      res.writeHead(answer.statusCode ?? 502, back);
      answer.pipe(res);
      answer.on('error', () => res.destroy());
    });
    const leave = (): void => void onward.destroy();
    // The body is not touched before somebody takes it, so that it can still be offered again.
    const begin = (): void => {
      awaySinceMs = null;
      req.pipe(onward);
    };
    onward.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', begin);
      else begin();
    });
    onward.on('error', (error: NodeJS.ErrnoException) => {
      res.off('close', leave);
      if (!NOT_THERE.has(error.code ?? '') || res.destroyed) return unavailable(res);
      awaySinceMs ??= monotonicMs();
      if (monotonicMs() - awaySinceMs > patienceMs) return unavailable(res);
      setTimeout(() => attempt(req, res, headers), TRY_AGAIN_MS);
    });
    res.on('close', leave);
  };
  return {
    handle: (req, res) => {
      const headers = Object.fromEntries(Object.entries(req.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
      headers['x-forwarded-for'] = addressOf(req, trustedProxies) ?? '';
      attempt(req, res, headers);
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
    'cache-control': 'no-store',
    ...SEALED,
    'content-length': Buffer.byteLength(body),
  });
  res.end(body);
}
