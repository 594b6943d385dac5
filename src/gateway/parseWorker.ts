import type { EndpointKind } from './endpoints.js';
import { type Parsed, parseRequest, placesOf } from './request.js';

export function run(job: { readonly kind: EndpointKind; readonly bytes: Uint8Array; readonly depthMax: number }): Parsed {
  const { buffer, byteOffset, byteLength } = job.bytes;
  const bytes = Buffer.from(buffer, byteOffset, byteLength);
  const parsed = parseRequest(job.kind, bytes, job.depthMax);
  return parsed.kind === 'asked' ? { ...parsed, places: placesOf(bytes) } : parsed;
}
