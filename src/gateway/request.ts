import type { EndpointKind } from './endpoints.js';
import { depthWithin, type Edit, type Member, OPEN_OBJECT, splice, topLevelMembers } from './json.js';

/** What a request asks for, as far as routing and pricing need to know. The bytes themselves go upstream. */
export interface Asked {
  readonly model: string;
  readonly stream: boolean;
  /** The client wants the usage chunk itself. */
  readonly includeUsage: boolean;
  /** Answers to be written: `n` or `best_of`, times the number of prompts. */
  readonly choices: number;
  readonly maxOutput: number | null;
  readonly textBytes: number;
  readonly messages: number;
  readonly images: number;
  readonly audios: number;
  readonly files: number;
  /** The endpoint writes no text: nothing is set aside for output. */
  readonly noOutput: boolean;
  readonly endUser: string | null;
  readonly agent: string | null;
  readonly conversation: string | null;
}

export type Parsed =
  | { readonly kind: 'asked'; readonly asked: Asked; readonly places: Places | null }
  | { readonly kind: 'bad'; readonly message: string; readonly param: string | null; readonly code: string };

/** Where a body is changed on its way. Finding that takes long in a large one, so whoever reads it in a thread finds it there. */
export interface Places {
  readonly model: Pick<Edit, 'start' | 'end'> | null;
  readonly askUsage: readonly Edit[];
}

type Body = Readonly<Record<string, unknown>>;

/** Keys we price or route by: one of them twice could be read one way here and another way upstream. */
const PRICED_KEYS = new Map(
  ['model', 'stream', 'n', 'best_of', 'max_tokens', 'max_completion_tokens', 'stream_options', 'prompt', 'messages', 'input'].map((key) => [
    key,
    `"${key}"`,
  ]),
);
/** Keys by which other gateways let a caller redirect a request or its key. They are never passed on. */
const REFUSED_KEYS: ReadonlySet<string> = new Set([
  'api_base',
  'base_url',
  'api_key',
  'custom_llm_provider',
  'extra_headers',
  'extra_body',
  'user_config',
  'api_version',
]);

const DEPTH_SCAN_FROM_BYTES = 64 * 1024;
const MODEL_LENGTH_MAX = 256;
const OUTPUT_TOKENS_MAX = 10_000_000;
const CHOICES_MAX = 128;
const PROMPTS_MAX = 2_048;

export function parseRequest(kind: EndpointKind, bytes: Buffer, depthMax: number): Parsed {
  if (bytes.length === 0) return bad('The request has no body. Send a JSON object.', null, 'invalid_json');
  if (bytes.length > DEPTH_SCAN_FROM_BYTES && !depthWithin(bytes, depthMax)) {
    return bad(`The body is nested deeper than ${depthMax} levels.`, null, 'too_deep');
  }
  const text = bytes.toString('utf8');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return bad('The body is not valid JSON. Check quotes, commas and brackets.', null, 'invalid_json');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return bad('The body must be a JSON object.', null, 'invalid_json');
  }
  return read(kind, body as Body, { bytes, text });
}

/** The same body twice: bytes for what has to be exact, text because searching it is cheaper. */
interface Raw {
  readonly bytes: Buffer;
  readonly text: string;
}

function read(kind: EndpointKind, body: Body, raw: Raw): Parsed {
  const keys = Object.keys(body);
  const twice = duplicateKey(keys, raw);
  if (twice) return bad(`'${twice}' appears twice in the body. Send it once.`, twice, 'duplicate_key');
  const refused = keys.find(isRefused);
  if (refused) return bad(`'${refused}' cannot be set by a request. Remove it.`, refused, 'unsupported_parameter');
  const model = body['model'];
  if (typeof model !== 'string' || model.length === 0 || model.length > MODEL_LENGTH_MAX) {
    return bad(`'model' must be a name of 1 to ${MODEL_LENGTH_MAX} characters.`, 'model', 'invalid_model');
  }
  const wrong = wrongNumber(body) ?? wrongFlag(body) ?? missingContent(kind, body);
  if (wrong) return wrong;
  return { kind: 'asked', asked: askedOf(kind, body, model, raw.bytes.length), places: null };
}

function askedOf(kind: EndpointKind, body: Body, model: string, bodyBytes: number): Asked {
  const parts = kind === 'chat' ? countParts(body['messages']) : NO_PARTS;
  const stream = body['stream'] === true && kind !== 'embeddings';
  const options = body['stream_options'];
  const metadata = body['metadata'];
  return {
    model,
    stream,
    includeUsage: stream && typeof options === 'object' && options !== null && (options as Body)['include_usage'] === true,
    choices: kind === 'embeddings' ? 1 : Math.max(whole(body['n']) ?? 1, whole(body['best_of']) ?? 1) * promptsOf(kind, body),
    maxOutput: outputBound(body),
    textBytes: Math.max(0, bodyBytes - parts.dataBytes),
    messages: Array.isArray(body['messages']) ? body['messages'].length : promptsOf(kind, body),
    images: parts.images,
    audios: parts.audios,
    files: parts.files,
    noOutput: kind === 'embeddings',
    endUser: shortText(body['user']),
    agent: namedIn(metadata, 'agent_id') ?? namedIn(metadata, 'agent'),
    conversation: namedIn(metadata, 'conversation_id'),
  };
}

function outputBound(body: Body): number | null {
  const older = whole(body['max_tokens']);
  const newer = whole(body['max_completion_tokens']);
  return older === null || newer === null ? (older ?? newer) : Math.max(older, newer);
}

const whole = (value: unknown): number | null => (typeof value === 'number' ? value : null);

const shortText = (value: unknown): string | null => (typeof value === 'string' && value.length > 0 ? value.slice(0, 256) : null);

function namedIn(metadata: unknown, name: string): string | null {
  return typeof metadata === 'object' && metadata !== null ? shortText((metadata as Body)[name]) : null;
}

/** A completion answers each of its prompts; arrays of numbers are one prompt in token ids. */
function promptsOf(kind: EndpointKind, body: Body): number {
  const prompt = body['prompt'];
  if (kind !== 'completions' || !Array.isArray(prompt) || prompt.length === 0) return 1;
  return typeof prompt[0] === 'number' ? 1 : prompt.length;
}

const wrongNumber = (body: Body): Parsed | null =>
  numberProblem('max_tokens', body['max_tokens'], OUTPUT_TOKENS_MAX) ??
  numberProblem('max_completion_tokens', body['max_completion_tokens'], OUTPUT_TOKENS_MAX) ??
  numberProblem('n', body['n'], CHOICES_MAX) ??
  numberProblem('best_of', body['best_of'], CHOICES_MAX);

function numberProblem(key: string, value: unknown, max: number): Parsed | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= max) return null;
  return bad(`'${key}' must be a whole number from 1 to ${max}.`, key, 'invalid_number');
}

function wrongFlag(body: Body): Parsed | null {
  const { stream, stream_options: options } = body as { stream?: unknown; stream_options?: unknown };
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    return bad("'stream' must be true or false.", 'stream', 'invalid_type');
  }
  if (options !== undefined && options !== null && (typeof options !== 'object' || Array.isArray(options))) {
    return bad("'stream_options' must be an object.", 'stream_options', 'invalid_type');
  }
  return null;
}

function missingContent(kind: EndpointKind, body: Body): Parsed | null {
  if (kind === 'chat') {
    const messages = body['messages'];
    if (!Array.isArray(messages) || messages.length === 0) {
      return bad("'messages' must be a list with at least one message.", 'messages', 'missing_messages');
    }
    return null;
  }
  const key = kind === 'completions' ? 'prompt' : 'input';
  const value = body[key];
  if (typeof value !== 'string' && !Array.isArray(value)) return bad(`'${key}' must be a text or a list.`, key, `missing_${key}`);
  if (kind === 'completions' && Array.isArray(value) && value.length > PROMPTS_MAX && typeof value[0] !== 'number') {
    return bad(`'prompt' may hold at most ${PROMPTS_MAX} prompts.`, 'prompt', 'too_many_prompts');
  }
  return null;
}

interface PartCount {
  images: number;
  audios: number;
  files: number;
  dataBytes: number;
}

const NO_PARTS: PartCount = { images: 0, audios: 0, files: 0, dataBytes: 0 };

/** Pictures, sounds and files are priced by bounds of their own; the bytes of a data URI are not text. */
function countParts(messages: unknown): PartCount {
  const count = { ...NO_PARTS };
  for (const message of Array.isArray(messages) ? messages : []) {
    const content = typeof message === 'object' && message !== null ? (message as Body)['content'] : null;
    for (const part of Array.isArray(content) ? content : []) {
      if (typeof part === 'object' && part !== null) countPart(part as Body, count);
    }
  }
  return count;
}

function countPart(part: Body, count: PartCount): void {
  const type = typeof part['type'] === 'string' ? part['type'] : '';
  if (type === 'text' || type === 'refusal' || type === '') return;
  if (type.includes('image')) {
    count.images += 1;
    count.dataBytes += dataUriBytes(part['image_url']);
  } else if (type.includes('audio')) {
    count.audios += 1;
    count.dataBytes += dataBytes(part['input_audio'], 'data');
  } else {
    count.files += 1;
    count.dataBytes += dataBytes(part['file'], 'file_data');
  }
}

function dataUriBytes(value: unknown): number {
  const url = typeof value === 'object' && value !== null ? (value as Body)['url'] : value;
  return typeof url === 'string' && url.startsWith('data:') ? url.length : 0;
}

function dataBytes(value: unknown, key: string): number {
  const data = typeof value === 'object' && value !== null ? (value as Body)[key] : null;
  return typeof data === 'string' ? data.length : 0;
}

/** A cheap byte search first; the exact scan only when a key could really stand there twice. */
function duplicateKey(keys: readonly string[], { bytes, text }: Raw): string | null {
  let suspicious = text.includes('\\u');
  for (let i = 0; i < keys.length && !suspicious; i++) {
    const quoted = PRICED_KEYS.get(keys[i] ?? '');
    suspicious = quoted !== undefined && appearsTwice(text, quoted);
  }
  if (!suspicious) return null;
  const seen = new Set<string>();
  for (const { key } of topLevelMembers(bytes)) {
    if (seen.has(key) && PRICED_KEYS.has(key)) return key;
    seen.add(key);
  }
  return null;
}

const isRefused = (key: string): boolean => REFUSED_KEYS.has(key);

function appearsTwice(text: string, quoted: string): boolean {
  const first = text.indexOf(quoted);
  return first >= 0 && text.indexOf(quoted, first + quoted.length) >= 0;
}

const bad = (message: string, param: string | null, code: string): Parsed => ({ kind: 'bad', message, param, code });

/**
 * The bytes for the upstream: the client's own, with the model's name replaced when the upstream knows it by another, and
 * `include_usage` asked for when the client did not.
 */
export function upstreamBody(
  bytes: Buffer,
  change: { readonly model: string | null; readonly askUsage: boolean },
  places: Places | null = null,
): Buffer {
  if (change.model === null && !change.askUsage) return bytes;
  const { model, askUsage } = places ?? placesOf(bytes);
  const renamed = change.model !== null && model ? [{ ...model, text: JSON.stringify(change.model) }] : [];
  return splice(bytes, change.askUsage ? [...renamed, ...askUsage] : renamed);
}

export function placesOf(bytes: Buffer): Places {
  const members = topLevelMembers(bytes);
  const model = members.find(({ key }) => key === 'model');
  const options = members.find(({ key }) => key === 'stream_options');
  return { model: model ? { start: model.valueStart, end: model.valueEnd } : null, askUsage: usageEdits(bytes, options) };
}

/** Said more often, it is all that is left of the options: nobody means that, and each is an edit. */
const WISHES_MAX = 8;

/** Only the wish is touched: whatever else stands in the options is never read, so how deep it is does not matter. */
function usageEdits(bytes: Buffer, options: Member | undefined): Edit[] {
  if (!options) {
    const start = bytes.indexOf('{') + 1;
    return [{ start, end: start, text: '"stream_options":{"include_usage":true},' }];
  }
  const { valueStart, valueEnd } = options;
  if (bytes[valueStart] !== OPEN_OBJECT) return [{ start: valueStart, end: valueEnd, text: '{"include_usage":true}' }];
  const members = topLevelMembers(bytes.subarray(valueStart, valueEnd));
  const wishes = members.filter(({ key }) => key === 'include_usage');
  if (wishes.length > WISHES_MAX) return [{ start: valueStart, end: valueEnd, text: '{"include_usage":true}' }];
  if (wishes.length > 0)
    return wishes.map((wish) => ({ start: valueStart + wish.valueStart, end: valueStart + wish.valueEnd, text: 'true' }));
  const start = valueStart + 1;
  return [{ start, end: start, text: `"include_usage":true${members.length > 0 ? ',' : ''}` }];
}
