import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { ask as asked } from '../support/sse.js';
import * as up from '../support/upstream.js';
import { type Client, exchange, expectCleanBooks, post, scriptOf } from './books.js';

// What strangers name on /v1: things of others, keys of the hot store, lines of an answer. docs/attacks.md has all attacks.

let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;
let other: Client;

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({ upstream: upstream.url });
  const [mine, theirs] = [await farebox.customer(1_000), await farebox.customer(1_000)];
  me = { farebox, orgId: mine.orgId, token: mine.token };
  other = { farebox, orgId: theirs.orgId, token: theirs.token };
});
beforeEach(() => {
  scriptOf(upstream);
});
afterAll(() => upstream.stop());

const chat = { model: 'fake-model', messages: [{ role: 'user', content: 'hi' }] };
const ask = (client: Client, headers: Record<string, string> = {}, body: object = chat) =>
  post(client, '/v1/chat/completions', JSON.stringify(body), { headers }).end();
const fetched = (path: string, { token }: Client, init: RequestInit = {}) =>
  fetch(`${farebox.url}${path}`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });

test('T7: files, batches, threads, videos and responses of others are nowhere, and no request goes upstream for them', async () => {
  const before = upstream.requests.length;
  const paths = [
    ...['responses/resp_1', 'responses/resp_1/input_items', 'files/file-1', 'files/file-1/content', 'batches/batch_1', 'threads/thread_1'],
    ...['threads/thread_1/messages', 'videos/video_1', 'chat/completions/chatcmpl-1', 'fine_tuning/jobs/ftjob-1', 'uploads/upload_1'],
  ];
  for (const path of paths)
    for (const method of ['GET', 'DELETE', 'POST']) {
      const answer = await fetched(`/v1/${path}`, me, { method });
      expect([answer.status, ((await answer.json()) as { error: { code: string } }).error.code], path).toEqual([404, 'unknown_url']);
    }
  expect(upstream.requests.length).toBe(before);
});

test('T7: the request of another organization looks like one that never was', async () => {
  const { row } = await exchange(other, chat);
  const id = row.request_id;
  const said = async (client: Client, request: string) => {
    const answer = await fetched(`/v1/generation?id=${request}`, client);
    return { status: answer.status, text: (await answer.text()).replaceAll(/req_[0-9a-f]{32}/g, '') };
  };
  expect((await said(other, id)).status).toBe(200);
  const [theirs, nobodys] = [await said(me, id), await said(me, newRequestId())];
  expect(theirs.status).toBe(404);
  expect(theirs).toEqual(nobodys);
});

test('T8: names that look like keys of the hot store stay names: each is taken once, by itself, and by each token', async () => {
  const keys = [
    '{07}',
    'hold:{07}',
    `{${me.orgId.slice(4, 6)}}:org:${other.orgId}`,
    '*',
    'a}:{b',
    `org:${other.orgId}`,
    '..',
    '%0a',
    '\\n',
    '[^a]?',
  ];
  for (const key of keys) {
    const once = { 'idempotency-key': key };
    expect((await ask(me, once)).status, key).toBe(200);
    expect((await ask(me, once)).status, `${key} again`).toBe(409);
    expect((await ask(other, once)).status, `${key} of somebody else`).toBe(200);
  }
  for (const forged of [`sk-fb-{07}-x`, `sk-fb-${me.orgId}:*-x`, 'sk-fb-*-*', 'sk-fb-hold:{07}-secret', `${me.token}:x`])
    expect((await fetched('/v1/models', { ...me, token: forged })).status, forged).toBe(401);
  await expectCleanBooks(farebox, [me.orgId, other.orgId]);
});

test('X15: nothing that is sent becomes a line of an answer', async () => {
  const evil = 'x\r\nx-evil: 1\r\nset-cookie: a=b';
  const named = await ask(me, {}, { ...chat, model: evil });
  const paths = [
    `/v1/models/${encodeURIComponent(evil)}`,
    `/v1/generation?id=${encodeURIComponent(evil)}`,
    `/v1/${encodeURIComponent(evil)}`,
  ];
  const answers = await Promise.all(paths.map((path) => fetched(path, me)));
  for (const headers of [named.headers, ...answers.map((answer) => answer.headers)]) {
    expect([headers.get('x-evil') ?? null, headers.get('set-cookie') ?? null]).toEqual([null, null]);
    expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
  }
  expect([named.status, ...answers.map(({ status }) => status)].every((status) => status >= 400 && status < 500)).toBe(true);
  const body = JSON.stringify(chat);
  const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${me.token}\r\nConnection: close\r\n`;
  const split = await asked(farebox.url, {
    raw: `${head}X-Request-Id: a\rX-Evil: 1\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  });
  expect([split.status >= 400, split.headers.has('x-evil')]).toEqual([true, false]);
});
