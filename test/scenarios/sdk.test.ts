import { LLMock } from '@copilotkit/aimock';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, expectCleanBooks, fakeCost, quiet, rowOf, scriptOf } from './books.js';

let upstream: up.Upstream;
let mock: LLMock;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;
let openai: OpenAI;
let attempts: { status: number; atMs: number }[] = [];

/** Counts what really goes over the wire; the waits of the SDK are its own. */
const counting: typeof fetch = async (input, init) => {
  const answer = await fetch(input, init);
  attempts.push({ status: answer.status, atMs: Date.now() });
  return answer;
};
const sdk = (token: string) => new OpenAI({ apiKey: token, baseURL: `${farebox.url}/v1`, fetch: counting });

beforeAll(async () => {
  upstream = await up.startUpstream();
  mock = new LLMock({ port: 0 });
  await mock.start();
  farebox = await startFarebox({
    upstream: upstream.url,
    config: {
      upstreams: { aimock: { base_url: `${mock.url}/v1`, api_key: 'mock-key', models: ['gpt-4o-mini', 'text-embedding-3-small'] } },
      models: {
        'fake-flat': { per: 'request', price: 10 },
        'gpt-4o-mini': { ratio: 0.075, output: '4x', cached: '0.5x' },
        'text-embedding-3-small': { ratio: 0.01, output: 'none' },
      },
    },
  });
  const { orgId, token } = await farebox.customer(100_000);
  me = { farebox, orgId, token };
  openai = sdk(token);
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => Promise.all([upstream.stop(), mock.stop()]));

const messages = [{ role: 'user' as const, content: 'hi' }];
const last = () => attempts.at(-1)?.status;

test('the openai SDK gets a plain answer with usage, request id and charge', async () => {
  will(up.says('Hello', up.usage(12, 3)));
  const { data, response, request_id } = await openai.chat.completions.create({ model: 'fake-model', messages }).withResponse();
  expect(data.choices[0]?.message.content).toBe('Hello');
  expect(data.usage).toMatchObject({ prompt_tokens: 12, completion_tokens: 3 });
  expect(request_id).toMatch(/^req_/);
  expect(response.headers.get('x-credits-charged')).toBe(String(fakeCost(12, 3) / 1e6));
  expect((await rowOf(farebox, me.orgId, request_id ?? '')).charged.micro).toBe(fakeCost(12, 3));
});

test('the openai SDK streams, with usage only when it asked for it', async () => {
  for (const include_usage of [false, true]) {
    will(up.says('Hel', 'lo', up.usage(12, 3)));
    const stream = await openai.chat.completions.create({
      model: 'fake-model',
      messages,
      stream: true,
      ...(include_usage ? { stream_options: { include_usage } } : {}),
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('Hello');
    expect(chunks.filter(({ usage }) => usage)).toHaveLength(include_usage ? 1 : 0);
  }
});

test('the openai SDK gets embeddings, completions and the list of models', async () => {
  const vectors = await openai.embeddings.create({ model: 'fake-model', input: ['a', 'b'], encoding_format: 'float' });
  expect(vectors.data.map(({ embedding }) => embedding)).toEqual([
    [0.25, -0.5, 1],
    [0.25, -0.5, 1],
  ]);
  const completion = await openai.completions.create({ model: 'fake-model', prompt: 'x' });
  expect(completion.choices[0]?.text).toBe('Hello');
  const names = (await openai.models.list()).data.map(({ id }) => id);
  expect(names).toEqual(expect.arrayContaining(['fake-model', 'fake-flat', 'gpt-4o-mini', 'demo']));
  expect(names).not.toContain('gpt-4o');
  expect((await openai.models.retrieve('fake-model')).id).toBe('fake-model');
  await expect(openai.models.retrieve('gpt-4o')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
});

test('G67: out of credits is one attempt of the SDK, with everything needed to understand it', async () => {
  const orgId = await farebox.createOrg('poor');
  const { secret } = await farebox.createToken(orgId);
  attempts = [];
  const error = await sdk(secret)
    .chat.completions.create({ model: 'fake-model', messages })
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(OpenAI.APIError);
  expect(error).toMatchObject({
    status: 402,
    code: 'insufficient_quota',
    type: 'insufficient_quota',
    requestID: expect.stringMatching(/^req_/),
  });
  expect(attempts).toHaveLength(1);
});

test('G67: credits held by a running request make the SDK wait, and then it succeeds by itself', async () => {
  const { orgId, token } = await farebox.customer(19);
  will(up.says(up.gate('holding'), 'first', up.usage(1, 1)), up.says('second', up.usage(1, 1)));
  const ask = { model: 'fake-model', max_tokens: 15_000, messages }; // sets twelve credits aside
  const first = sdk(token).chat.completions.create(ask);
  await upstream.reached('holding');
  const statuses: number[] = [];
  const patient = new OpenAI({
    apiKey: token,
    baseURL: `${farebox.url}/v1`,
    fetch: async (input, init) => {
      if (statuses.length === 1) await endFirst();
      const answer = await fetch(input, init);
      statuses.push(answer.status);
      return answer;
    },
  });
  const endFirst = async () => {
    upstream.open('holding');
    await first;
  };
  const second = await patient.chat.completions.create(ask);
  expect(second.choices[0]?.message.content).toBe('second');
  expect(statuses).toEqual([429, 200]);
  expect((await quiet(farebox, orgId)).available).toBe(19_000_000 - 2 * fakeCost(1, 1));
});

test('G67: a stream that fails half way throws in the SDK instead of ending quietly', async () => {
  will(up.says('Hel', up.reset()));
  const stream = await openai.chat.completions.create({ model: 'fake-model', messages, stream: true });
  let text = '';
  const reading = (async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  })();
  await expect(reading).rejects.toMatchObject({ code: 'upstream_disconnected', type: 'upstream_error' });
  expect(text).toBe('Hel');
});

test('G67: breaking out of the loop ends the request upstream and charges what was delivered', async () => {
  will(up.says('one', up.gate('broken off'), 'two', up.noUsage()));
  const { data, request_id } = await openai.chat.completions.create({ model: 'fake-model', messages, stream: true }).withResponse();
  for await (const chunk of data) if (chunk.choices[0]?.delta.content) break;
  const row = await rowOf(farebox, me.orgId, request_id ?? '');
  expect(row).toMatchObject({ status: 'cancelled', usage: { output: 1 } });
  await upstream.quiet();
});

test('the SDK maps our refusals to its own error classes', async () => {
  const wrong = sdk(`${me.token.slice(0, -1)}${me.token.endsWith('0') ? '1' : '0'}`);
  await expect(wrong.chat.completions.create({ model: 'fake-model', messages })).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  await expect(openai.chat.completions.create({ model: 'nobody-knows', messages })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  await expect(openai.chat.completions.create({ model: 'fake-unpriced', messages })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  expect(last()).toBe(400);
});

test('an upstream that nobody here wrote works with the SDK in front, streaming and not', async () => {
  mock.onMessage('hi', { content: 'Hello from somebody else' });
  const plain = await openai.chat.completions.create({ model: 'gpt-4o-mini', messages }).withResponse();
  expect(plain.data.choices[0]?.message.content).toBe('Hello from somebody else');
  const row = await rowOf(farebox, me.orgId, plain.request_id ?? '');
  expect(row).toMatchObject({ status: 'complete', upstream: 'aimock' });
  const { data, request_id } = await openai.chat.completions.create({ model: 'gpt-4o-mini', messages, stream: true }).withResponse();
  let text = '';
  for await (const chunk of data) text += chunk.choices[0]?.delta.content ?? '';
  expect(text).toBe('Hello from somebody else');
  expect((await rowOf(farebox, me.orgId, request_id ?? '')).status).toBe('complete');
  const vectors = await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'hi' });
  expect(vectors.data[0]?.embedding.length).toBeGreaterThan(0);
});

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, [me.orgId]);
});
