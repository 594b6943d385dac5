// The upstream of the bench: as cheap as Node can be, so that what is measured is what stands in front of it.
// The model's name chooses the answer: bench-json, bench-paced, bench-full, bench-silent (as full, without usage), bench-hold.
import { createServer } from 'node:net';

const CHUNK_MS = 10;
const CHUNKS = 200;
const HOLD_MS = 1_000;

const filler = 'The fare is taken at the door and the change is given at once. '.repeat(12);
const usage = { prompt_tokens: 256, completion_tokens: 180, total_tokens: 436 };
const head = { id: 'chatcmpl-bench', created: 1_700_000_000, model: 'bench' };
const completion = Buffer.from(
  JSON.stringify({
    ...head,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: filler }, finish_reason: 'stop' }],
    usage,
  }),
);
const JSON_ANSWER = Buffer.concat([
  Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${completion.length}\r\n\r\n`),
  completion,
]);
const STREAM_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';

const event = (value) => {
  const text = `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
};
const piece = (delta, finish = null) => ({
  ...head,
  object: 'chat.completion.chunk',
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const TEXT = event(piece({ content: 'the fare is taken at the door, '.repeat(3) }));
const USAGE = event({ ...head, object: 'chat.completion.chunk', choices: [], usage });
const tail = (last) => `${event(piece({}, 'stop')) + last + event('[DONE]')}0\r\n\r\n`;
const TAIL = tail(USAGE);
const FULL = Buffer.from(STREAM_HEAD + TEXT.repeat(CHUNKS) + TAIL);
const SILENT = Buffer.from(STREAM_HEAD + TEXT.repeat(CHUNKS) + tail(''));

createServer({ noDelay: true }, (socket) => {
  let held = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    for (let request = take(); request; request = take()) answer(socket, request);
  });
  function take() {
    const end = held.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(held.toString('latin1', 0, end))?.[1] ?? 0);
    if (held.length < end + 4 + length) return undefined;
    const body = held.subarray(end + 4, end + 4 + length);
    held = held.subarray(end + 4 + length);
    return body;
  }
}).listen(0, '127.0.0.1', 4_096, function () {
  process.stdout.write(`${JSON.stringify({ port: this.address().port })}\n`);
});

function answer(socket, body) {
  if (body.includes('bench-paced')) return paced(socket, CHUNK_MS);
  if (body.includes('bench-hold')) return paced(socket, HOLD_MS);
  if (body.includes('bench-silent')) return socket.write(SILENT);
  socket.write(body.includes('bench-full') ? FULL : JSON_ANSWER);
}

function paced(socket, everyMs) {
  socket.write(STREAM_HEAD + TEXT);
  let sent = 1;
  const timer = setInterval(() => {
    if (sent++ < CHUNKS) return socket.write(TEXT);
    clearInterval(timer);
    socket.write(TAIL);
  }, everyMs);
  socket.once('close', () => clearInterval(timer));
}
