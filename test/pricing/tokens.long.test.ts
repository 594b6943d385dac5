import { afterAll, expect, test } from 'vitest';
import { createTokenCounter, type TokenCounter, type TokenJob } from '../../src/pricing/tokens.js';

const counters: TokenCounter[] = [];
const counter = (options = {}): TokenCounter => {
  const made = createTokenCounter(options);
  counters.push(made);
  return made;
};
afterAll(() => Promise.all(counters.map((one) => one.close())));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const job = (prompt: string, response = '', more: Partial<TokenJob> = {}): TokenJob => ({
  endpoint: 'completions',
  model: 'gpt-4o-mini',
  request: bytes(JSON.stringify({ prompt })),
  response: [bytes(response)],
  stream: false,
  ...more,
});
const shared = counter();

test('counts in a thread, in the encoding of the model', async () => {
  const chat = JSON.stringify({ messages: [{ role: 'user', content: 'What is the capital of France?' }] });
  const answer = JSON.stringify({ choices: [{ message: { content: 'The capital of France is Paris.' } }] });
  const counted = await shared.count({ endpoint: 'chat', model: 'gpt-4', request: bytes(chat), response: [bytes(answer)], stream: false });
  expect(counted).toEqual({ input: 3 + 3 + 1 + 7, output: 7, delivered: true });
});

// B16
test('text that looks like special tokens is text', async () => {
  const counted = await shared.count(job('<|endoftext|>'.repeat(1000)));
  expect(counted.input).toBeGreaterThan(3000);
});

test('a stream cut at any byte counts the same', async () => {
  const whole = bytes(
    'data: {"choices":[{"index":0,"text":"héllo 👨‍👩‍👧"}]}\r\n\r\ndata: {"choices":[{"index":0,"text":" wörld"}]}\n\ndata: [DONE]\n\n',
  );
  const expected = await shared.count(job('', '', { stream: true, response: [whole] }));
  expect(expected.output).toBeGreaterThan(5);
  for (let cut = 0; cut <= whole.length; cut++) {
    expect(await shared.count(job('', '', { stream: true, response: [whole.subarray(0, cut), whole.subarray(cut)] }))).toEqual(expected);
  }
});

const KILLERS: readonly (readonly [string, string])[] = [
  ['one Han character', '漢'.repeat(32_000)],
  ['one emoji', '😀'.repeat(32_000)],
  ['two letters', 'ab'.repeat(250_000)],
  ['newlines', '\n'.repeat(500_000)],
  ['joined emoji', '👨‍👩‍👧‍👦'.repeat(10_000)],
  ['lone surrogates', '\uD800'.repeat(50_000)],
  ['combining marks', '\u0301'.repeat(100_000)],
  ['slash and newline', '/\n'.repeat(100_000)],
  ['spaces', ' '.repeat(500_000)],
  ['base64', 'QUJD'.repeat(100_000)],
];

for (const [what, text] of KILLERS) {
  test(`a text that chokes tokenizers is counted, and never above its bytes: ${what}`, async () => {
    const { input } = await shared.count(job(text));
    expect(input).toBeGreaterThan(0);
    expect(input).toBeLessThanOrEqual(bytes(text).length);
  });
}

test('the event loop goes on while a text is counted', async () => {
  let isDone = false;
  const counting = shared.count(job('漢'.repeat(200_000))).finally(() => {
    isDone = true;
  });
  let turns = 0;
  while (!isDone && turns < 10_000) {
    await new Promise((next) => setTimeout(next, 1));
    turns += 1;
  }
  await counting;
  expect(turns).toBeGreaterThan(3);
});

const LONG = 'word 漢字 '.repeat(400_000);

test('an aborted count stops and is told so; the next one works', async () => {
  const own = counter();
  const abort = new AbortController();
  const counting = own.count(job(LONG), abort.signal);
  abort.abort();
  await expect(counting).rejects.toMatchObject({ code: 'count_aborted' });
  await expect(own.count(job('x'), abort.signal)).rejects.toMatchObject({ code: 'count_aborted' });
  expect((await own.count(job('hello'))).input).toBe(1);
});

test('a count that passes its deadline stops', async () => {
  await expect(counter({ deadlineMs: 1 }).count(job(LONG))).rejects.toMatchObject({ code: 'count_deadline' });
});

test('more work than the queue holds is refused at once, and what was taken is done', async () => {
  const own = counter({ queueMax: 2 });
  const jobs = Array.from({ length: 12 }, () => own.count(job('hello world')));
  const ended = await Promise.allSettled(jobs);
  const refused = ended.filter((one) => one.status === 'rejected');
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThan(12);
  for (const one of refused) expect((one as PromiseRejectedResult).reason).toMatchObject({ code: 'count_busy' });
});

test('a closed counter says so', async () => {
  const own = counter();
  await own.close();
  await expect(own.count(job('x'))).rejects.toMatchObject({ code: 'count_closed' });
});

test('bounds of images can be given per job', async () => {
  const request = bytes(JSON.stringify({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }] }] }));
  const counted = await shared.count({ endpoint: 'chat', model: 'gpt-4o', request, response: [], stream: false, bounds: { image: 77 } });
  expect(counted.input).toBe(3 + 3 + 1 + 77);
});
