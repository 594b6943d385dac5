import type { IncomingMessage } from 'node:http';
import { type GatewayError, tooLarge } from './errors.js';

export type Read =
  | { readonly kind: 'body'; readonly bytes: Buffer }
  | { readonly kind: 'refused'; readonly error: GatewayError }
  /** The client left before its request was whole: nobody is there to be answered. */
  | { readonly kind: 'gone' };

/** Reads a body once, whole, never more than `max` bytes of it. */
export function readBody(req: IncomingMessage, max: number): Promise<Read> {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') return Promise.resolve({ kind: 'refused', error: encoded(encoding) });
  const length = req.headers['content-length'];
  if (length !== undefined && Number(length) > max) return Promise.resolve({ kind: 'refused', error: tooLarge(max) });
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    let isWhole = false;
    req.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes > max) {
        req.pause();
        parts.length = 0;
        resolve({ kind: 'refused', error: tooLarge(max) });
      } else parts.push(part);
    });
    req.on('end', () => {
      isWhole = true;
      resolve({ kind: 'body', bytes: parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts) });
    });
    req.on('error', () => resolve({ kind: 'gone' }));
    req.on('close', () => {
      // To be resolved again costs a call across the runtime, and every request is closed in the end.
      if (!isWhole) resolve({ kind: 'gone' });
    });
  });
}

const encoded = (encoding: string): GatewayError => ({
  status: 415,
  type: 'invalid_request_error',
  code: 'unsupported_content_encoding',
  message: `A body with Content-Encoding '${encoding.slice(0, 40)}' is not read here. Send it plain.`,
  headers: { connection: 'close' },
});
