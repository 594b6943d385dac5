/**
 * What a fake upstream will do, told as a list of steps: `says('Hel', gate('half'), 'lo', usage(3, 2))`. Headers go out
 * with the first byte of body, so `says(reset())` breaks before headers and `says(headers(), reset())` right after them.
 * Every answer is plain JSON: it can be queued, sent to a child process, or travel inside the user's message (`asking`).
 */
export interface Answer {
  readonly status?: number;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly steps: readonly Step[];
  readonly wire?: Wire;
  /** The whole body, sent as it is instead of a completion. Steps still run before it. */
  readonly body?: string;
}

export type Step =
  | { readonly text: string; readonly choice?: number; readonly usage?: unknown }
  | { readonly reasoning: string; readonly choice?: number }
  | { readonly toolCall: { readonly name: string; readonly arguments: string; readonly id?: string }; readonly choice?: number }
  /** A chunk with no choices and this usage; streams send it only when asked for, unless `unasked`. `null` sends none at all. */
  | { readonly usage: unknown; readonly unasked?: boolean }
  | { readonly finish: string | null; readonly choice?: number }
  /** Any JSON as one `data:` event. */
  | { readonly event: unknown }
  /** Body bytes as they are (UTF-8), inside the framing of the answer. */
  | { readonly raw: string }
  /** Bytes for the socket itself, outside any framing; nothing else is added to the answer. */
  | { readonly socket: string }
  | { readonly repeat: string; readonly times: number }
  | { readonly headers: true }
  | { readonly delayMs: number }
  | { readonly gate: string }
  | { readonly done: boolean }
  | { readonly end: Cut };

/** How an answer breaks off: a clean close of the socket, a reset, or silence until the client goes away. */
export type Cut = 'fin' | 'reset' | 'hang';

export interface Wire {
  /** Bytes per write, or the offsets in the body at which to start a new write. */
  readonly split?: number | readonly number[];
  readonly dripMs?: number;
  readonly eol?: '\n' | '\r\n' | '\r';
  readonly encoding?: 'gzip' | 'br' | 'deflate';
  readonly framing?: 'chunked' | 'length' | 'close';
  /** A Content-Length that need not be true. */
  readonly contentLength?: number;
  /** Break after this many bytes of body. 0 = after the headers. */
  readonly cut?: { readonly after: number; readonly how: Cut };
  /** A byte-order mark before the first event. */
  readonly bom?: boolean;
}

/** Answers in the shape the request asked for: chat or plain completion, stream or JSON. Strings are pieces of text. */
export function says(...steps: readonly (string | Step)[]): Answer {
  return { steps: steps.map((step) => (typeof step === 'string' ? { text: step } : step)) };
}

/** An error answer. Without a body it is an OpenAI-shaped one. */
export function fails(status: number, options: { retryAfter?: string | number; body?: string; headers?: [string, string][] } = {}): Answer {
  const type = status === 429 ? 'rate_limit_error' : status >= 500 ? 'server_error' : 'invalid_request_error';
  const body = options.body ?? JSON.stringify({ error: { message: `upstream said ${status}`, type, param: null, code: null } });
  const retry: [string, string][] = options.retryAfter === undefined ? [] : [['Retry-After', String(options.retryAfter)]];
  return { status, headers: [['Content-Type', 'application/json'], ...retry, ...(options.headers ?? [])], body, steps: [] };
}

/** Any status, headers and body: HTML, nothing, broken JSON. */
export function returns(body: string, options: { status?: number; type?: string; headers?: [string, string][]; wire?: Wire } = {}): Answer {
  const headers: [string, string][] = [['Content-Type', options.type ?? 'application/json'], ...(options.headers ?? [])];
  return { status: options.status ?? 200, headers, body, steps: [], ...(options.wire ? { wire: options.wire } : {}) };
}

export function redirects(location: string, status = 302): Answer {
  return { status, headers: [['Location', location]], body: '', steps: [] };
}

/** The same answer, with other bytes on the wire. */
export const over = (answer: Answer, wire: Wire): Answer => ({ ...answer, wire: { ...answer.wire, ...wire } });

export const withHeaders = (answer: Answer, ...headers: [string, string][]): Answer => ({
  ...answer,
  headers: [...(answer.headers ?? []), ...headers],
});

/** A user message that tells the fake upstream what to answer to exactly this request. */
export const asking = (answer: Answer): string => JSON.stringify({ upstream: answer });

export const reasons = (reasoning: string): Step => ({ reasoning });
export const calls = (name: string, args: string, id?: string): Step => ({ toolCall: { name, arguments: args, ...(id ? { id } : {}) } });
/** A piece of text on another choice than the first. */
export const onChoice = (choice: number, text: string): Step => ({ text, choice });
export const withUsage = (text: string, value: unknown): Step => ({ text, usage: value });
export const huge = (bytes: number, letter = 'x'): Step => ({ repeat: letter, times: bytes });

/** Ordinary usage, with details only where they are given. */
export function usage(prompt: number, completion: number, details: { cached?: number; reasoning?: number } = {}): Step {
  return {
    usage: {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
      ...(details.cached === undefined ? {} : { prompt_tokens_details: { cached_tokens: details.cached } }),
      ...(details.reasoning === undefined ? {} : { completion_tokens_details: { reasoning_tokens: details.reasoning } }),
    },
  };
}
/** Usage of any kind, however absurd; a stream sends it even when nobody asked. */
export const usageOf = (value: unknown): Step => ({ usage: value, unasked: true });
export const noUsage = (): Step => ({ usage: null });

export const finish = (reason: string | null, choice?: number): Step => ({ finish: reason, ...(choice === undefined ? {} : { choice }) });
export const event = (value: unknown): Step => ({ event: value });
export const errorEvent = (message: string, code: string | null = null): Step => ({
  event: { error: { message, type: 'server_error', code } },
});
export const comment = (text = 'keep-alive'): Step => ({ raw: `: ${text}\n\n` });
export const raw = (bytes: string): Step => ({ raw: bytes });
export const socketBytes = (bytes: string): Step => ({ socket: bytes });
export const headers = (): Step => ({ headers: true });
export const after = (delayMs: number): Step => ({ delayMs });
/** Waits here until the test calls `upstream.open(name)`; `upstream.reached(name)` resolves when something waits. */
export const gate = (name: string): Step => ({ gate: name });
export const noDone = (): Step => ({ done: false });
/** `[DONE]` at this place; what follows still goes out. */
export const done = (): Step => ({ done: true });
export const reset = (): Step => ({ end: 'reset' });
export const close = (): Step => ({ end: 'fin' });
export const hang = (): Step => ({ end: 'hang' });
