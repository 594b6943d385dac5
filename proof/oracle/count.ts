import { get_encoding, type Tiktoken } from 'tiktoken';
import { dataOf } from './events.js';

/** The rule of `docs/counting.md`, written again from that page. */
type Json = Readonly<Record<string, unknown>>;
export type Endpoint = 'chat' | 'completions' | 'embeddings';

let encoding: Tiktoken | undefined;

/** Every model of the oracle has a name that no vendor uses, so all are counted as o200k. */
export function tokens(text: unknown): number {
  if (typeof text !== 'string' || text === '') return 0;
  encoding ??= get_encoding('o200k_base');
  return pieces(text).reduce((sum, piece) => sum + (encoding?.encode(piece, [], []).length ?? 0), 0);
}

/** Runs of 128 and more that are all letters and marks, or all neither letters nor digits, are cut every 128. */
function pieces(text: string): string[] {
  const found: string[] = [];
  let rest = text;
  for (;;) {
    const run = /[^\p{L}\p{N}]{128,}|[\p{L}\p{M}]{128,}/u.exec(rest);
    if (!run) return rest === '' ? found : [...found, rest];
    if (run.index > 0) found.push(rest.slice(0, run.index));
    for (let left = run[0]; left !== ''; ) {
      const isSplitPair = left.length > 128 && /[\uD800-\uDBFF]/.test(left.charAt(127));
      const size = isSplitPair ? 127 : 128;
      found.push(left.slice(0, size));
      left = left.slice(size);
    }
    rest = rest.slice(run.index + run[0].length);
  }
}

export function countInput(endpoint: Endpoint, request: string): number {
  const body = record(parse(request));
  if (!body) return tokens(request);
  if (endpoint === 'embeddings') return prompt(body['input']);
  if (endpoint === 'completions') return prompt(body['prompt']) + tokens(body['suffix']);
  let sum = 3;
  for (const message of list(body['messages'])) sum += 3 + ofMessage(record(message) ?? {});
  for (const schema of [body['tools'], body['functions'], record(body['response_format'])?.['json_schema']]) {
    if (schema !== undefined && schema !== null) sum += tokens(JSON.stringify(schema));
  }
  return sum;
}

function prompt(value: unknown): number {
  if (!Array.isArray(value)) return tokens(value);
  return value.reduce<number>((sum, one) => sum + (typeof one === 'number' ? 1 : Array.isArray(one) ? one.length : tokens(one)), 0);
}

function ofMessage(message: Json): number {
  let sum = tokens(message['role']);
  if (typeof message['name'] === 'string') sum += 1 + tokens(message['name']);
  if (Array.isArray(message['content'])) for (const part of message['content']) sum += tokens(record(part)?.['text']);
  else sum += tokens(message['content']);
  for (const [field, text] of spoken(message)) if (field !== 'content') sum += tokens(text);
  return sum;
}

/** Each text of a message or a delta, with the name of its field. */
function spoken(said: Json): [string, string][] {
  const found: [string, unknown][] = ['content', 'reasoning_content', 'reasoning', 'refusal'].map((field) => [field, said[field]]);
  for (const [position, item] of list(said['tool_calls']).entries()) {
    const called = record(record(item)?.['function']);
    const index = record(item)?.['index'] ?? position;
    found.push([`tool ${index} name`, called?.['name']], [`tool ${index} arguments`, called?.['arguments']]);
  }
  return found.filter((one): one is [string, string] => typeof one[1] === 'string');
}

/** What was said in an answer: whole events of a stream, or one body, as far as it can be read. */
export function countOutput(endpoint: Endpoint, stream: boolean, answer: string): { output: number; delivered: boolean } {
  if (endpoint === 'embeddings') return { output: 0, delivered: answer.length > 0 };
  const texts = new Map<string, string>();
  const add = (key: string, text: string) => texts.set(key, (texts.get(key) ?? '') + text);
  for (const one of stream ? dataOf(answer) : [answer]) {
    const body = record(parse(one));
    if (!body && !stream) add('torn', tornText(one));
    for (const [position, item] of list(body?.['choices']).entries()) {
      const choice = record(item) ?? {};
      const key = choice['index'] ?? position;
      if (typeof choice['text'] === 'string') add(`${key} text`, choice['text']);
      for (const [field, text] of spoken(record(choice['delta']) ?? record(choice['message']) ?? {})) add(`${key} ${field}`, text);
    }
  }
  const all = [...texts.values()];
  return { output: all.reduce((sum, text) => sum + tokens(text), 0), delivered: all.some((text) => text !== '') };
}

/** The texts in a body that broke off. Read character by character, so that a broken escape ends it where it is. */
function tornText(body: string): string {
  let text = '';
  for (const start of body.matchAll(/"(?:content|text|reasoning_content|reasoning|refusal|arguments)"\s*:\s*"/g)) {
    text += readString(body, start.index + start[0].length);
  }
  return text;
}

function readString(body: string, from: number): string {
  let text = '';
  for (let at = from; at < body.length && body[at] !== '"'; at++) {
    if (body[at] !== '\\') {
      text += body[at];
      continue;
    }
    const letters = /^\\(?:u[0-9a-fA-F]{4}|[^u])/.exec(body.slice(at, at + 6))?.[0];
    if (!letters) break;
    text += JSON.parse(`"${letters}"`);
    at += letters.length - 1;
  }
  return text;
}

export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const record = (value: unknown): Json | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
