import type { EndpointKind } from './endpoints.js';
import { type Parsed, parseRequest } from './request.js';

export function run(job: { readonly kind: EndpointKind; readonly bytes: Uint8Array; readonly depthMax: number }): Parsed {
  const { buffer, byteOffset, byteLength } = job.bytes;
  return parseRequest(job.kind, Buffer.from(buffer, byteOffset, byteLength), job.depthMax);
}
