import type { Answer, Step } from './answers.js';
import { type AnswerWriter, Broken } from './upstream-wire.js';

/** What the runner needs to know about a request, and what it writes down while it answers. */
export interface Asked {
  readonly path: string;
  readonly json: Record<string, unknown>;
  readonly number: number;
  text: string;
  reasoning: string;
  usageSent: unknown;
  finished: boolean;
}

export interface Waits {
  gate(name: string): Promise<void>;
  delay(ms: number): Promise<void>;
}

/** Plays an answer to the end. Throws `Broken` where the script breaks off. */
export async function play(answer: Answer, asked: Asked, writer: AnswerWriter, waits: Waits): Promise<void> {
  if (answer.body !== undefined) return playBody(answer, answer.body, asked, writer, waits);
  if (asked.json['stream'] === true) return playStream(answer, asked, writer, waits);
  return playJson(answer, asked, writer, waits);
}

async function playBody(answer: Answer, body: string, asked: Asked, writer: AnswerWriter, waits: Waits): Promise<void> {
  for (const step of answer.steps) await pause(step, writer, waits);
  await writer.whole(Buffer.from(body, 'utf8'));
  await writer.finish();
  asked.finished = true;
}

async function playStream(answer: Answer, asked: Asked, writer: AnswerWriter, waits: Waits): Promise<void> {
  const told = tell(answer.steps, asked);
  if (answer.wire?.bom) await writer.part(Buffer.from('\uFEFF', 'utf8'));
  for (const step of told) {
    if (await pause(step, writer, waits)) continue;
    const bytes = streamBytes(step, asked, answer.wire?.eol ?? '\n');
    if (bytes !== '') await writer.part(Buffer.from(bytes, 'utf8'));
    note(step, asked);
  }
  await writer.finish();
  asked.finished = true;
}

async function playJson(answer: Answer, asked: Asked, writer: AnswerWriter, waits: Waits): Promise<void> {
  const told = tell(answer.steps, asked);
  for (const step of told) await pause(step, writer, waits);
  const body = Buffer.from(JSON.stringify(jsonBody(told, asked)), 'utf8');
  await writer.whole(body);
  for (const step of told) note(step, asked);
  await writer.finish();
  asked.finished = true;
}

/** Steps that are about time or the socket. Says whether the step was one of them. */
async function pause(step: Step, writer: AnswerWriter, waits: Waits): Promise<boolean> {
  if ('delayMs' in step) await waits.delay(step.delayMs);
  else if ('gate' in step) await waits.gate(step.gate);
  else if ('headers' in step) await writer.head();
  else if ('socket' in step) await writer.push(Buffer.from(step.socket, 'latin1'));
  else if ('end' in step) throw new Broken(step.end);
  else return false;
  return true;
}

/** Adds what a well-behaved upstream ends with, unless the script says it already: finish reasons, usage, `[DONE]`. */
function tell(steps: readonly Step[], asked: Asked): Step[] {
  const told = [...steps];
  if (steps.some((step) => 'end' in step || 'socket' in step)) return told;
  const doneAt = told.findIndex((step) => 'done' in step && step.done);
  const tail: Step[] = [];
  if (!steps.some((step) => 'finish' in step)) {
    for (let choice = 0; choice < choicesOf(asked); choice++) tail.push({ finish: 'stop', choice });
  }
  if (!steps.some((step) => 'usage' in step)) tail.push({ usage: ordinaryUsage(steps) });
  else tail.push(...moveLastUsage(told));
  if (!steps.some((step) => 'done' in step)) tail.push({ done: true });
  if (doneAt === -1) told.push(...tail);
  else told.splice(doneAt, 0, ...tail);
  return told;
}

/** `says('a', usage(1, 1))` means: usage after the finish reason, as upstreams do. An explicit finish keeps the told order. */
function moveLastUsage(told: Step[]): Step[] {
  const last = told.at(-1);
  if (last && 'usage' in last && !('text' in last) && !told.some((step) => 'finish' in step)) return told.splice(-1, 1);
  return [];
}

const choicesOf = (asked: Asked): number => (typeof asked.json['n'] === 'number' ? Math.min(128, asked.json['n']) : 1);

function ordinaryUsage(steps: readonly Step[]): unknown {
  const output = steps.filter((step) => 'text' in step || 'reasoning' in step || 'toolCall' in step).length;
  return { prompt_tokens: 10, completion_tokens: output, total_tokens: 10 + output };
}

function asksForUsage(asked: Asked): boolean {
  const options = asked.json['stream_options'];
  return typeof options === 'object' && options !== null && (options as Record<string, unknown>)['include_usage'] === true;
}

function streamBytes(step: Step, asked: Asked, eol: string): string {
  if ('raw' in step) return eol === '\n' ? step.raw : step.raw.replaceAll('\n', eol);
  if ('done' in step) return step.done ? `data: [DONE]${eol}${eol}` : '';
  const value = 'event' in step ? step.event : chunk(step, asked);
  return value === undefined ? '' : `data: ${JSON.stringify(value)}${eol}${eol}`;
}

function chunk(step: Step, asked: Asked): unknown {
  const chat = !asked.path.startsWith('/v1/completions');
  const head = {
    id: `chatcmpl-${asked.number}`,
    object: chat ? 'chat.completion.chunk' : 'text_completion',
    created: 1_700_000_000,
    model: asked.json['model'],
  };
  const empty = asksForUsage(asked) ? { usage: null } : {};
  if ('text' in step || 'repeat' in step) {
    const text = 'text' in step ? step.text : step.repeat.repeat(step.times);
    const choice = choiceOf('text' in step ? (step.choice ?? 0) : 0, chat ? { delta: { content: text } } : { text });
    return { ...head, choices: [choice], ...('usage' in step && step.usage !== undefined ? { usage: step.usage } : empty) };
  }
  if ('reasoning' in step)
    return { ...head, choices: [choiceOf(step.choice ?? 0, { delta: { reasoning_content: step.reasoning } })], ...empty };
  if ('toolCall' in step)
    return { ...head, choices: [choiceOf(step.choice ?? 0, { delta: { tool_calls: [toolCall(step, 0)] } })], ...empty };
  if ('finish' in step) {
    const body = chat ? { delta: {} } : { text: '' };
    return { ...head, choices: [{ ...choiceOf(step.choice ?? 0, body), finish_reason: step.finish }], ...empty };
  }
  if ('usage' in step && step.usage !== null && (step.unasked || asksForUsage(asked))) return { ...head, choices: [], usage: step.usage };
  return undefined;
}

const choiceOf = (index: number, body: Record<string, unknown>): Record<string, unknown> => ({ index, ...body, finish_reason: null });

function toolCall(step: Extract<Step, { toolCall: unknown }>, index: number): Record<string, unknown> {
  const { name, arguments: args, id } = step.toolCall;
  return { index, id: id ?? `call_${name}`, type: 'function', function: { name, arguments: args } };
}

/** Writes down what has now been delivered in full. */
function note(step: Step, asked: Asked): void {
  if ('text' in step) asked.text += step.text;
  if ('repeat' in step) asked.text += step.repeat.repeat(step.times);
  if ('reasoning' in step) asked.reasoning += step.reasoning;
  if ('toolCall' in step) asked.text += step.toolCall.name + step.toolCall.arguments;
  if (!('usage' in step) || step.usage === undefined || step.usage === null) return;
  const sent = 'text' in step || step.unasked === true || asked.json['stream'] !== true || asksForUsage(asked);
  if (sent) asked.usageSent = step.usage;
}

function jsonBody(steps: readonly Step[], asked: Asked): unknown {
  const usage = lastUsage(steps);
  const tail = usage === undefined || usage === null ? {} : { usage };
  if (asked.path.startsWith('/v1/embeddings')) return embeddings(asked, tail);
  const chat = !asked.path.startsWith('/v1/completions');
  const choices = Array.from({ length: choicesOf(asked) }, (_, index) => jsonChoice(steps, index, chat));
  const object = chat ? 'chat.completion' : 'text_completion';
  return { id: `chatcmpl-${asked.number}`, object, created: 1_700_000_000, model: asked.json['model'], choices, ...tail };
}

function lastUsage(steps: readonly Step[]): unknown {
  return steps.reduce<unknown>((last, step) => ('usage' in step && step.usage !== undefined ? step.usage : last), undefined);
}

function embeddings(asked: Asked, tail: Record<string, unknown>): unknown {
  const input = asked.json['input'];
  const data = (Array.isArray(input) ? input : [input]).map((_, index) => ({ object: 'embedding', index, embedding: [0.25, -0.5, 1] }));
  return { object: 'list', data, model: asked.json['model'], ...tail };
}

function jsonChoice(steps: readonly Step[], index: number, chat: boolean): Record<string, unknown> {
  let content = '';
  let reasoning = '';
  let finish: string | null = 'stop';
  const tools: unknown[] = [];
  for (const step of steps) {
    if ('repeat' in step && index === 0) content += step.repeat.repeat(step.times);
    if (!('choice' in step ? (step.choice ?? 0) === index : index === 0)) continue;
    if ('text' in step) content += step.text;
    if ('reasoning' in step) reasoning += step.reasoning;
    if ('toolCall' in step) tools.push(toolCall(step, tools.length));
    if ('finish' in step) finish = step.finish;
  }
  if (!chat) return { index, text: content, logprobs: null, finish_reason: finish };
  const extra = { ...(reasoning ? { reasoning_content: reasoning } : {}), ...(tools.length > 0 ? { tool_calls: tools } : {}) };
  return { index, message: { role: 'assistant', content, ...extra }, logprobs: null, finish_reason: finish };
}
