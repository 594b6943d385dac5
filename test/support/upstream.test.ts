import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask, call } from './sse.js';
import * as up from './upstream.js';
import { startUpstreamProcess } from './upstream-process.js';

let upstream: up.Upstream;
beforeAll(async () => {
  upstream = await up.startUpstream();
});
afterAll(() => upstream.stop());

const chat = (more: Record<string, unknown> = {}, content = 'hi') => ({ model: 'm', messages: [{ role: 'user', content }], ...more });
const url = () => `${upstream.url}/chat/completions`;

test('a stream carries the told text, a finish reason, usage only when asked, and [DONE]', async () => {
  upstream.will(up.says('Hel', 'lo', up.usage(3, 2)), up.says('Hel', 'lo', up.usage(3, 2)));
  const plain = await ask(url(), { json: chat({ stream: true }) });
  expect(plain).toMatchObject({ text: 'Hello', done: true, ending: 'complete', status: 200 });
  expect(plain.body.toString()).not.toContain('prompt_tokens');
  const asked = await ask(url(), { json: chat({ stream: true, stream_options: { include_usage: true } }) });
  expect(asked.events.at(-2)?.json).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
  expect(upstream.requests.at(-1)).toMatchObject({ text: 'Hello', ending: 'complete', usageSent: { prompt_tokens: 3 } });
  expect(upstream.requests.at(-1)?.delivered.equals(asked.body)).toBe(true);
});

test('a plain answer carries the same text in one piece', async () => {
  upstream.will(up.says('Hel', 'lo', up.reasons('hm'), up.usageOf({ prompt_tokens: -1 })));
  const answer = await ask(url(), { json: chat({ n: 2 }) });
  expect(answer.json).toMatchObject({
    usage: { prompt_tokens: -1 },
    choices: [{ message: { content: 'Hello', reasoning_content: 'hm' } }, {}],
  });
});

test('the script may travel in the message, so that concurrent requests choose their own', async () => {
  const answers = await Promise.all(
    ['a', 'b', 'c'].map((text) => ask(url(), { json: chat({ stream: true }, up.asking(up.says(text, up.noUsage()))) })),
  );
  expect(answers.map((answer) => answer.text)).toEqual(['a', 'b', 'c']);
});

test('a gate holds the stream until it is opened', async () => {
  upstream.will(up.says('one', up.gate('half'), 'two'));
  const running = call(url(), { json: chat({ stream: true }) });
  await running.until('one');
  await upstream.reached('half');
  expect(upstream.requests.at(-1)?.text).toBe('one');
  upstream.open('half');
  expect((await running.end()).text).toBe('onetwo');
});

test('answers break off exactly where they are told to', async () => {
  const ending = async (answer: up.Answer) => (await ask(url(), { json: chat({ stream: true }, up.asking(answer)) })).ending;
  expect(await ending(up.says(up.reset()))).toBe('no_answer');
  expect(await ending(up.says('a', up.close()))).toBe('truncated');
  expect(await ending(up.says('a', up.reset()))).toMatch(/^(reset|truncated)$/); // one packet with the data looks like a clean end to Node;
  upstream.will(up.over(up.says('abc'), { cut: { after: 17, how: 'fin' } }));
  expect((await ask(url(), { json: chat({ stream: true }) })).body.length).toBe(17);
  expect(upstream.requests.at(-1)?.delivered.length).toBe(17);
});

test('a client that goes away is written down', async () => {
  upstream.will(up.says('a', up.hang()));
  const running = call(url(), { json: chat({ stream: true }) });
  await running.until('"a"');
  running.hangUp();
  await upstream.quiet();
  expect(upstream.requests.at(-1)).toMatchObject({ ending: 'aborted', text: 'a' });
  expect(upstream.requests.at(-1)?.abortedAtMs).not.toBeNull();
});

test('splitting at every byte changes nothing but the packets', async () => {
  for (const eol of ['\n', '\r\n'] as const) {
    upstream.will(up.over(up.says('Ä', up.comment(), '漢'), { split: 1, eol, bom: true }));
    expect(await ask(url(), { json: chat({ stream: true }) })).toMatchObject({ text: 'Ä漢', done: true });
  }
});

test('errors, HTML and lies about the length are sent as told', async () => {
  upstream.will(
    up.fails(429, { retryAfter: 7 }),
    up.returns('<html>', { type: 'text/html' }),
    up.over(up.returns('abc'), { contentLength: 10 }),
  );
  const limited = await ask(url(), { json: chat() });
  expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '7']);
  expect((await ask(url(), { json: chat() })).body.toString()).toBe('<html>');
  const lied = call(url(), { json: chat() });
  lied.halfClose();
  expect((await lied.head()).headers.get('content-length')).toBe('10');
  lied.hangUp();
});

test('a slow reader gets every byte once, and a large answer is read quickly', async () => {
  upstream.will(up.says(up.huge(40_000)), up.says(up.huge(20_000_000)));
  const slow = call(url(), { json: chat({ stream: true }) });
  slow.readSlowly(400_000);
  expect((await slow.end()).text).toHaveLength(40_000);
  expect((await ask(url(), { json: chat({ stream: true }) })).text).toHaveLength(20_000_000);
});

test('a client that stops reading is felt by the upstream', async () => {
  upstream.will(up.says('first', up.huge(30_000_000)));
  const stuck = call(url(), { json: chat({ stream: true }) });
  await stuck.until('first');
  stuck.pause();
  expect(upstream.requests.at(-1)?.endedAtMs).toBeNull();
  stuck.resume();
  expect((await stuck.end()).body.length).toBeGreaterThan(30_000_000);
});

test('embeddings, completions and models have their own shapes', async () => {
  const embedding = await ask(`${upstream.url}/embeddings`, { json: { model: 'm', input: ['a', 'b'] } });
  expect(embedding.json?.['data']).toHaveLength(2);
  const completion = await ask(`${upstream.url}/completions`, { json: { model: 'm', prompt: 'x', stream: true } });
  expect(completion.text).toBe('Hello from upstream');
  expect((await ask(`${upstream.url}/models`)).json).toMatchObject({ object: 'list' });
});

test('an upstream can refuse connections and come back on its port', async () => {
  await upstream.refuse();
  expect((await ask(url(), { json: chat() })).ending).toBe('no_answer');
  await upstream.listen();
  expect((await ask(url(), { json: chat() })).status).toBe(200);
});

test('the same works from a process of its own', async () => {
  const child = await startUpstreamProcess();
  try {
    child.will(up.says('far', up.gate('g'), ' away'));
    const running = call(`${child.url}/chat/completions`, { json: chat({ stream: true }) });
    await child.reached('g');
    child.open('g');
    expect((await running.end()).text).toBe('far away');
    await child.quiet();
    expect(child.requests.at(-1)).toMatchObject({ text: 'far away', ending: 'complete' });
  } finally {
    await child.kill();
  }
});
