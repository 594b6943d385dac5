import { createApi } from '../../src/api/app.js';
import type { ApiDeps } from '../../src/api/deps.js';
import type { ApiDocument as Checked } from './document.js';

export interface DocumentedOperation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly security: readonly object[];
  readonly 'x-permission': string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean; readonly schema: object }[];
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, { readonly schema: object }>> };
  readonly responses: Checked['paths'][string][string]['responses'];
}

export interface FullDocument {
  readonly openapi: string;
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: Checked['components'];
}

/** What it takes to make routes, without anything that could answer a call. */
export const withoutServer = (): ApiDeps =>
  ({
    pepper: 'none',
    clock: { nowMs: () => 0 },
    credits: { name: 'credit', value: null },
    people: { providers: [] },
  }) as unknown as ApiDeps;

export async function documentWithoutServer(): Promise<FullDocument> {
  const answer = await createApi(withoutServer()).request('http://farebox.test/api/v1/openapi.json');
  return (await answer.json()) as FullDocument;
}
