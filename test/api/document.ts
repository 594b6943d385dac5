import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { expect } from 'vitest';

interface Operation {
  readonly requestBody?: { readonly content: object };
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, object>> }>>;
}

export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

interface Exchange {
  readonly method: string;
  /** As the document names it: `/api/v1/orgs/{org}`. */
  readonly path: string;
  readonly sent: unknown;
  readonly status: number;
  readonly type: string;
  readonly body: unknown;
}

/** Holds what is sent and answered against the document alone, as a client made from it would. */
export function createDocumentCheck(document: ApiDocument): (exchange: Exchange) => void {
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(document, 'api');
  const compiled = new Map<string, ValidateFunction>();
  const check = (pointer: readonly string[], value: unknown, what: string): void => {
    const key = `api#/${pointer
      .map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1'))
      .map(encodeURIComponent)
      .join('/')}`;
    let validate = compiled.get(key);
    if (!validate) {
      validate = ajv.compile({ $ref: key });
      compiled.set(key, validate);
    }
    expect(validate(value), `${what}: ${ajv.errorsText(validate.errors)}`).toBe(true);
  };
  return ({ method, path, sent, status, type, body }) => {
    const where = ['paths', path, method.toLowerCase()];
    const operation = document.paths[path]?.[method.toLowerCase()];
    if (!operation) throw new Error(`the document does not name ${method} ${path}`);
    const named = operation.responses[String(status)] ? String(status) : 'default';
    const media = type.split(';')[0] ?? '';
    expect(Object.keys(operation.responses[named]?.content ?? {}), `${method} ${path} ${status}`).toContain(media);
    check([...where, 'responses', named, 'content', media, 'schema'], body, `the answer ${status} of ${method} ${path}`);
    if (status >= 300 || sent === undefined || !operation.requestBody) return;
    check([...where, 'requestBody', 'content', 'application/json', 'schema'], sent, `what ${method} ${path} accepted`);
  };
}
