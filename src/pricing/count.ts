import type { PartBounds } from '../domain/prices.js';
import { eventsOf } from './sse.js';

/** How many tokens a text has. Handed in, so that the rule can be checked against any tokenizer. */
export type Encode = (text: string) => number;

export type CountedEndpoint = 'chat' | 'completions' | 'embeddings';

export interface Counted {
  readonly input: number;
  readonly output: number;
  /** Whether the client got any output at all. */
  readonly delivered: boolean;
}

export interface CountJob {
  readonly endpoint: CountedEndpoint;
  /** The request body and the response body as text. */
  readonly request: string;
  readonly response: string;
  readonly stream: boolean;
  readonly bounds: PartBounds;
}

/** The published counting rule (`docs/counting.md`), used when an upstream does not say what was used. Never throws. */
export function count(job: CountJob, encode: Encode): Counted {
  const request = objectOf(parsed(job.request));
  const texts = job.endpoint === 'embeddings' ? [] : outputTexts(job);
  return {
    input: request ? inputOf(request, job, encode) : encode(job.request),
    output: texts.reduce((sum, text) => sum + encode(text), 0),
    delivered: job.endpoint === 'embeddings' ? job.response.length > 0 : texts.some((text) => text !== ''),
  };
}

const PER_REQUEST = 3;
const PER_MESSAGE = 3;
const PER_NAME = 1;

function inputOf(request: Json, job: CountJob, encode: Encode): number {
  if (job.endpoint === 'chat') return chatInput(request, job.bounds, encode);
  const prompt = promptTokens(request[job.endpoint === 'embeddings' ? 'input' : 'prompt'], encode);
  return prompt + text(request['suffix'], encode);
}

/** A string, a list of strings, a list of token numbers, or a list of such lists. */
function promptTokens(prompt: unknown, encode: Encode): number {
  if (!Array.isArray(prompt)) return text(prompt, encode);
  return prompt.reduce<number>((sum, item) => {
    if (typeof item === 'number') return sum + 1;
    return sum + (Array.isArray(item) ? item.length : text(item, encode));
  }, 0);
}

function chatInput(request: Json, bounds: PartBounds, encode: Encode): number {
  let sum = PER_REQUEST;
  for (const message of listOf(request['messages'])) sum += PER_MESSAGE + messageTokens(objectOf(message) ?? {}, bounds, encode);
  for (const schema of [request['tools'], request['functions'], objectOf(request['response_format'])?.['json_schema']]) {
    if (schema !== undefined && schema !== null) sum += encode(JSON.stringify(schema));
  }
  return sum;
}

function messageTokens(message: Json, bounds: PartBounds, encode: Encode): number {
  let sum = text(message['role'], encode) + contentTokens(message['content'], bounds, encode);
  if (typeof message['name'] === 'string') sum += PER_NAME + encode(message['name']);
  for (const said of saidIn(message)) if (said.field !== 'content') sum += encode(said.text);
  return sum;
}

function contentTokens(content: unknown, bounds: PartBounds, encode: Encode): number {
  if (!Array.isArray(content)) return text(content, encode);
  return content.reduce<number>((sum, item) => sum + partTokens(objectOf(item) ?? {}, bounds, encode), 0);
}

/** A part of an unknown kind counts as the JSON it is, so nothing can be hidden in one. */
function partTokens(part: Json, bounds: PartBounds, encode: Encode): number {
  switch (part['type']) {
    case 'text':
    case 'input_text':
      return text(part['text'], encode);
    case 'refusal':
      return text(part['refusal'], encode);
    case 'image_url':
    case 'input_image':
      return bounds.image ?? 0;
    case 'input_audio':
      return bounds.audio ?? 0;
    case 'file':
    case 'input_file':
      return bounds.file ?? 0;
    default:
      return encode(JSON.stringify(part));
  }
}

interface Said {
  readonly field: string;
  readonly text: string;
}

/** Everything a message or a delta says: text, reasoning, refusal, tool calls, the transcript of its sound. */
function* saidIn(message: Json): Generator<Said> {
  for (const field of ['content', 'reasoning_content', 'reasoning', 'refusal']) {
    const said = message[field];
    if (typeof said === 'string') yield { field, text: said };
  }
  if (Array.isArray(message['content'])) {
    for (const part of message['content']) {
      const said = objectOf(part)?.['text'];
      if (typeof said === 'string') yield { field: 'content', text: said };
    }
  }
  const transcript = objectOf(message['audio'])?.['transcript'];
  if (typeof transcript === 'string') yield { field: 'transcript', text: transcript };
  yield* calledIn(objectOf(message['function_call']), 'call');
  for (const [position, item] of listOf(message['tool_calls']).entries()) {
    const call = objectOf(item);
    const index = typeof call?.['index'] === 'number' ? call['index'] : position;
    yield* calledIn(objectOf(call?.['function']) ?? objectOf(call?.['custom']), `tool.${index}`);
  }
}

function* calledIn(call: Json | undefined, field: string): Generator<Said> {
  for (const name of ['name', 'arguments', 'input']) {
    const said = call?.[name];
    if (typeof said === 'string') yield { field: `${field}.${name}`, text: said };
  }
}

/** One text per choice and field, with all its deltas joined: where the stream was cut must not change the count. */
function outputTexts(job: CountJob): string[] {
  const joined = new Map<string, string>();
  const add = (key: string, more: string): void => {
    joined.set(key, (joined.get(key) ?? '') + more);
  };
  for (const event of job.stream ? eventsOf(job.response) : [job.response]) {
    const body = objectOf(parsed(event));
    if (!body) {
      for (const said of job.stream ? [] : torn(event)) add('torn', said);
      continue;
    }
    for (const [position, item] of listOf(body['choices']).entries()) {
      const choice = objectOf(item) ?? {};
      const index = typeof choice['index'] === 'number' ? choice['index'] : position;
      if (typeof choice['text'] === 'string') add(`${index}.text`, choice['text']);
      for (const said of saidIn(objectOf(choice['delta']) ?? objectOf(choice['message']) ?? {})) add(`${index}.${said.field}`, said.text);
    }
  }
  return [...joined.values()];
}

/** What can still be read of a JSON answer that broke off: the strings of the fields that carry output. */
function torn(body: string): string[] {
  const found: string[] = [];
  for (const match of body.matchAll(/"(?:content|text|reasoning_content|reasoning|refusal|arguments)"\s*:\s*"((?:[^"\\]|\\.)*)/g)) {
    const whole = (match[1] ?? '').replace(/\\u[0-9a-fA-F]{0,3}$/, '');
    const said = parsed(`"${whole}"`);
    if (typeof said === 'string') found.push(said);
  }
  return found;
}

type Json = Readonly<Record<string, unknown>>;

function parsed(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

const objectOf = (value: unknown): Json | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown, encode: Encode): number => (typeof value === 'string' ? encode(value) : 0);
