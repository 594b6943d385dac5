import { readFileSync } from 'node:fs';
import { z } from '@hono/zod-openapi';
import { type Route, route, streamed } from '../route.js';
import type { ReferenceDocument } from './document.js';
import { referencePage } from './page.js';

/** Only what this server itself sends, nothing inline, and nobody else's frame. */
const PAGE_POLICY = "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

export const REFERENCE = '/api/v1/docs';

/** The document for people, at `/api/v1/docs`. It needs no other server, and reads without its script. */
export function referenceRoutes(document: () => unknown): readonly Route[] {
  let page: string | undefined;
  const made = (): string => {
    page ??= referencePage(document() as ReferenceDocument);
    return page;
  };
  return [
    file(REFERENCE, 'text/html', made),
    file(`${REFERENCE}/reference.css`, 'text/css', asset('reference.css')),
    file(`${REFERENCE}/reference.svg`, 'image/svg+xml', asset('reference.svg')),
    file(`${REFERENCE}/reference.js`, 'text/javascript', asset('reference.js')),
  ];
}

const file = (path: string, type: string, text: () => string): Route =>
  route({
    method: 'get',
    path,
    permission: 'public',
    summary: 'This API, as a page',
    tag: 'meta',
    // What was typed into the filter is in the address.
    query: z.looseObject({}),
    answers: { 200: { description: 'The page', schema: z.string(), type } },
    handle: () => streamed(`${type}; charset=utf-8`, new Blob([text()]).stream(), { 'content-security-policy': PAGE_POLICY }),
  });

function asset(name: string): () => string {
  let text: string | undefined;
  return () => {
    text ??= readFileSync(new URL(name, import.meta.url), 'utf8');
    return text;
  };
}
