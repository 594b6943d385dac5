import { type FieldError, invalid, malformed, type Problem, tooLarge, wrongType } from './problem.js';

export const BODY_BYTES_MAX = 1_048_576;
/** Nothing we take is nested deeper than prices of an organization's own; parsing costs stack per level. */
const DEPTH_MAX = 32;

export type ReadBody = { readonly kind: 'read'; readonly value: unknown } | Problem;

/** Reads a JSON body within its bounds. An empty body is `{}`. */
export async function readBody(request: Request): Promise<ReadBody> {
  const bytes = await readBytes(request);
  if (bytes === 'too_large') return tooLarge(BODY_BYTES_MAX);
  if (bytes.length === 0) return { kind: 'read', value: {} };
  const type = request.headers.get('content-type') ?? undefined;
  const encoding = request.headers.get('content-encoding');
  if (!type || !JSON_TYPE.test(type)) return wrongType(type);
  if (encoding && encoding.toLowerCase() !== 'identity') return wrongType(`content-encoding ${encoding}`);
  const text = decode(bytes);
  if (text === undefined) return malformed('The body is not valid UTF-8.');
  if (depthOf(text) > DEPTH_MAX) return malformed(`The JSON is nested deeper than ${DEPTH_MAX} levels.`, 'too_deep');
  try {
    const value: unknown = JSON.parse(text);
    const traps = trapsIn(value, '');
    return traps.length > 0 ? invalid(traps) : { kind: 'read', value };
  } catch {
    return malformed('The body is not valid JSON.');
  }
}

const JSON_TYPE = /^application\/json(?:\s*;\s*charset\s*=\s*"?utf-8"?)?\s*$/i;

async function readBytes(request: Request): Promise<Buffer | 'too_large'> {
  if (Number(request.headers.get('content-length') ?? 0) > BODY_BYTES_MAX) return 'too_large';
  if (!request.body) return Buffer.alloc(0);
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
    total += part.byteLength;
    if (total > BODY_BYTES_MAX) return 'too_large';
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Depth without parsing; brackets inside texts do not count. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inText) {
      if (code === 0x5c) at++;
      else if (code === 0x22) inText = false;
    } else if (code === 0x22) inText = true;
    else if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x7d || code === 0x5d) depth--;
  }
  return deepest;
}

/** `__proto__` as a key would pass a schema unseen, because validators skip it; half characters and NUL cannot be stored. */
function trapsIn(value: unknown, pointer: string): FieldError[] {
  if (typeof value === 'string') return STORABLE.test(value) ? [] : [unstorable(pointer)];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    if (key === '__proto__') return [{ pointer: `${pointer}/__proto__`, code: 'unknown_field', message: 'There is no field "__proto__".' }];
    return STORABLE.test(key) ? trapsIn(item, `${pointer}/${escapePointer(key)}`) : [unstorable(pointer)];
  });
}

export const STORABLE = /^[^\0\p{Surrogate}]*$/u;

const unstorable = (pointer: string): FieldError => ({
  pointer,
  code: 'wrong_form',
  message: 'This text has characters that cannot be stored.',
});

export const escapePointer = (key: string): string => key.slice(0, 100).replaceAll('~', '~0').replaceAll('/', '~1');
