import type { Call, ForwardRequest, Sink } from './sink.js';

/**
 * The built-in model: answers in this process, in the same wire format and through the same path as a real upstream, so
 * that the first request needs no provider key and every number in its log row is real.
 */
export function answerDemo(request: ForwardRequest, sink: Sink): Call {
  const asked = JSON.parse((request.body ?? Buffer.from('{}')).toString('utf8')) as DemoRequest;
  const state: DemoState = { stopped: false, paused: null };
  setImmediate(() => {
    if (state.stopped) return;
    if (request.path === '/embeddings') plain(sink, embedding(asked, request));
    else if (asked.stream === true) stream(sink, state, request, asked);
    else plain(sink, completion(asked, request));
  });
  return {
    abort: (reason) => {
      if (state.stopped) return;
      state.stopped = true;
      sink.onFailure({ kind: 'aborted', sent: true, detail: reason });
    },
    resume: () => state.paused?.(),
  };
}

interface DemoRequest {
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly n?: number | null;
  readonly messages?: readonly { readonly role?: string; readonly content?: unknown }[];
  readonly prompt?: unknown;
}

interface DemoState {
  stopped: boolean;
  paused: (() => void) | null;
}

const CHUNK_EVERY_MS = 8;
const WORDS =
  'Hello from Farebox. This answer comes from the built-in demo model: it was priced, paid for out of prepaid credits before it was written, metered while it ran, and booked in a ledger that adds up. Add an upstream to config.yaml to talk to a real one.';

const pieces = (asked: DemoRequest): string[] => {
  const all = WORDS.split(/(?<= )/);
  return all.slice(0, asked.max_completion_tokens ?? asked.max_tokens ?? all.length);
};

const usageOf = (asked: DemoRequest, request: ForwardRequest) => {
  const input = Math.ceil((request.body?.length ?? 0) / 4);
  const output = pieces(asked).length * (asked.n ?? 1);
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
};

const head = (asked: DemoRequest, object: string) => ({
  id: `demo-${Date.now().toString(36)}`,
  object,
  created: Math.floor(Date.now() / 1000),
  model: asked.model ?? 'demo',
});

function completion(asked: DemoRequest, request: ForwardRequest): object {
  const chat = request.path === '/chat/completions';
  const text = pieces(asked).join('');
  const reason = text === WORDS ? 'stop' : 'length';
  const choices = Array.from({ length: asked.n ?? 1 }, (_, index) =>
    chat
      ? { index, message: { role: 'assistant', content: text }, logprobs: null, finish_reason: reason }
      : { index, text, logprobs: null, finish_reason: reason },
  );
  return { ...head(asked, chat ? 'chat.completion' : 'text_completion'), choices, usage: usageOf(asked, request) };
}

function embedding(asked: DemoRequest, request: ForwardRequest): object {
  const { prompt_tokens } = usageOf(asked, request);
  const vector = Array.from({ length: 8 }, (_, i) => Math.round(Math.sin(prompt_tokens + i) * 1e6) / 1e6);
  return {
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: vector }],
    model: asked.model ?? 'demo',
    usage: { prompt_tokens, total_tokens: prompt_tokens },
  };
}

function plain(sink: Sink, body: object): void {
  const bytes = Buffer.from(JSON.stringify(body));
  sink.onHead(200, { 'content-type': 'application/json', 'content-length': String(bytes.length) });
  sink.onData(bytes);
  sink.onEnd();
}

function stream(sink: Sink, state: DemoState, request: ForwardRequest, asked: DemoRequest): void {
  const frames = framesOf(asked, request);
  sink.onHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  const next = (): void => {
    if (state.stopped) return;
    state.paused = null;
    const frame = frames.shift();
    if (frame === undefined) {
      state.stopped = true;
      sink.onEnd();
      return;
    }
    if (sink.onData(Buffer.from(`data: ${frame}\n\n`))) setTimeout(next, CHUNK_EVERY_MS);
    else state.paused = next;
  };
  next();
}

function framesOf(asked: DemoRequest, request: ForwardRequest): string[] {
  const chat = request.path === '/chat/completions';
  const about = head(asked, chat ? 'chat.completion.chunk' : 'text_completion');
  const indexes = Array.from({ length: asked.n ?? 1 }, (_, index) => index);
  const choice = (index: number, text: string | null, finish: string | null): object =>
    chat
      ? { index, delta: text === null ? {} : { content: text }, finish_reason: finish }
      : { index, text: text ?? '', finish_reason: finish };
  const frame = (choices: object[], usage?: object): string => JSON.stringify({ ...about, choices, ...(usage ? { usage } : {}) });
  const frames = pieces(asked).flatMap((text) => indexes.map((index) => frame([choice(index, text, null)])));
  frames.push(...indexes.map((index) => frame([choice(index, null, 'stop')])));
  if (asked.stream_options?.include_usage === true) frames.push(frame([], usageOf(asked, request)));
  frames.push('[DONE]');
  return frames;
}
