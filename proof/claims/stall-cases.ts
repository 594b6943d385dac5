/** What somebody may send, and what an upstream may answer, to keep a gateway busy: each as large as it may be. */
export interface StallCase {
  readonly name: string;
  /** The request, as JSON. */
  readonly body: () => string;
  readonly answer: () => Reply;
}

export interface Reply {
  readonly type: 'application/json' | 'text/event-stream';
  readonly body: string;
}

const WHOLE = 20_000_000 - 1_000;
/** What is read on the event loop itself ends about here. */
const INLINE = 256 * 1024 - 1_000;
/** Held back whole, so that its charge can be said before it. */
const HELD_BACK = 1_000_000 - 1_000;
const LARGE = 10_000_000;

const filled = (unit: string, length: number): string => unit.repeat(Math.floor(length / Buffer.byteLength(unit)));
const numbered = (piece: (i: number) => string, length: number): string => {
  const pieces: string[] = [];
  for (let [i, sum] = [0, 0]; sum < length; i++) sum += pieces[pieces.push(piece(i)) - 1]?.length ?? 1;
  return pieces.join('');
};

const request = (content: string, rest = ''): string =>
  `{"model":"fake-model","max_tokens":10,"messages":[{"role":"user","content":"${content}"}]${rest}}`;

/** By how much of it there is. */
const BODIES: readonly (readonly [name: string, body: (length: number) => string])[] = [
  ['one letter', (length) => request(filled('a', length))],
  ['Han characters', (length) => request(filled('漢', length))],
  ['family emoji', (length) => request(filled('👨‍👩‍👧‍👦', length))],
  ['combining marks', (length) => request(filled('e\u0301\u0302\u0303', length))],
  ['escaped quotes', (length) => request(filled('\\"', length))],
  ['escaped characters', (length) => request(filled('\\u6f22', length))],
  ['half surrogates', (length) => request(filled('\\ud800', length))],
  ['special tokens', (length) => request(filled('<|endoftext|>', length))],
  ['spaces', (length) => request(filled(' ', length))],
  ['numbers', (length) => request('x', `,"x":[${filled('1,', length)}1]`)],
  ['long numbers', (length) => request('x', `,"x":${filled('9', length)}`)],
  ['short texts', (length) => request('x', `,"x":["${filled('","', length)}"]`)],
  ['empty lists', (length) => request('x', `,"x":[${filled('[],', length)}1]`)],
  [
    'keys',
    (length) =>
      request(
        'x',
        numbered((i) => `,"k${i}":0`, length),
      ),
  ],
  ['one key again and again', (length) => request('x', filled(',"model":"fake-model"', length))],
  ['wishes', (length) => request('x', `,"stream_options":{${filled('"include_usage":0,', length)}"y":0}`)],
  ['messages', (length) => request('x').replace('[', `[${filled('{"role":"user","content":"x"},', length)}`)],
  ['parts', (length) => request('x').replace('"x"', `[${filled('{"type":"text","text":"x"},', length)}{"type":"text","text":"x"}]`)],
  ['brackets', (length) => request('x', `,"x":${filled('[', length / 2)}${filled(']', length / 2)}`)],
  ['nothing', (length) => filled(' ', length)],
  ['a text without an end', (length) => `{"model":"${filled('x', length)}`],
];

const chat = (inside: string): string =>
  `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",${inside}},"finish_reason":"stop"}]}`;
const says = (content: string): string => chat(`"content":"${content}"`);

const JSONS: readonly (readonly [name: string, body: (length: number) => string])[] = [
  ['one letter', (length) => says(filled('a', length))],
  ['Han characters', (length) => says(filled('漢', length))],
  ['an error and numbers', (length) => chat(`"error":[${filled('1,', length)}1]`)],
  ['an error and lists', (length) => chat(`"error":${filled('[', length / 2)}${filled(']', length / 2)}`)],
  ['an error and keys', (length) => chat(`"error":{${numbered((i) => `"k${i}":0,`, length)}"k":0}`)],
  ['usage that is not closed', (length) => chat(`"x":${filled('{"usage":', length)}`)],
  ['usage again and again', (length) => chat(filled('"usage":{"prompt_tokens":1},', length) + '"content":"x"')],
  ['usage with many keys', (length) => says('x').replace(/}$/, `,"usage":{${numbered((i) => `"k${i}":0,`, length)}"prompt_tokens":1}}`)],
  ['finish reasons', (length) => chat(filled('"finish_reason":"stop",', length) + '"content":"x"')],
  ['spaces', (length) => filled(' ', length) + says('x')],
];

const event = (inside: string): string => `data: {"id":"c","object":"chat.completion.chunk","choices":[${inside}]}\n\n`;
const delta = (content: string): string => event(`{"index":0,"delta":{"content":"${content}"},"finish_reason":null}`);
const over = `${event('{"index":0,"delta":{},"finish_reason":"stop"}')}data: [DONE]\n\n`;

const STREAMS: readonly (readonly [name: string, body: (length: number) => string])[] = [
  ['one event', (length) => delta(filled('a', length)) + over],
  ['an event without an end', (length) => `data: ${filled('a', length)}`],
  ['many events', (length) => filled(delta('a'), length) + over],
  ['many short events', (length) => filled('data: {}\n\n', length) + over],
  ['empty lines', (length) => filled('\n', length) + over],
  ['comments', (length) => filled(': x\n\n', length) + over],
  ['lines of one event', (length) => `${filled('data: {\n', length)}\n${over}`],
  ['usage again and again', (length) => filled('data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', length) + over],
  ['usage that is not closed', (length) => filled('data: {"choices":[],"usage":{"x":\n\n', length) + over],
  ['errors', (length) => filled('data: {"error":{"message":"x"}}\n\n', length)],
  ['errors that cannot be read', (length) => filled('data:{"error"\n\n', length) + over],
  ['reasons that cannot be read, and no end', (length) => filled('data:{"finish_reason"\n\n', length)],
  ['choices', (length) => event(`${filled('{"index":0,"delta":{"content":"a"}},', length)}{"index":0,"delta":{}}`) + over],
  ['numbered choices', (length) => numbered((i) => event(`{"index":${i},"delta":{"content":"a"}}`), length) + over],
];

const json = (body: string): Reply => ({ type: 'application/json', body });
const plain = json(says('ok'));
const asked = (): string => request('hello');
const streamed = (): string => request('hello', ',"stream":true');

export const STALL_CASES: readonly StallCase[] = [
  ...BODIES.flatMap(([name, body]) => [
    { name: `a request as large as it may be: ${name}`, body: () => body(WHOLE), answer: () => plain },
    { name: `a request just read at once: ${name}`, body: () => body(INLINE), answer: () => plain },
  ]),
  ...JSONS.flatMap(([name, body]) => [
    { name: `an answer that is held back: ${name}`, body: asked, answer: () => json(body(HELD_BACK)) },
    { name: `an answer too large for that: ${name}`, body: asked, answer: () => json(body(LARGE)) },
  ]),
  ...STREAMS.map(([name, body]) => ({
    name: `a stream: ${name}`,
    body: streamed,
    answer: (): Reply => ({ type: 'text/event-stream', body: body(LARGE) }),
  })),
];
