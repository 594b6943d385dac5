import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import { ask, call, type Result } from '../support/sse.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, eventually, exchange, expectCleanBooks, fakeCost, post, quiet, requestIdOf, scriptOf } from './books.js';

const BODY_MAX = 200_000;
let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;
let will: (...answers: up.Answer[]) => void;

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({
    upstream: upstream.url,
    config: { gateway: { body_bytes_max: BODY_MAX, headers_timeout: '1s', request_timeout: '3s' } },
  });
  const { orgId, token } = await farebox.customer(100_000);
  me = { farebox, orgId, token };
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => upstream.stop());

const CHAT = '/v1/chat/completions';
const body = JSON.stringify({ model: 'fake-model', messages: [{ role: 'user', content: 'hi' }] });
const auth = () => `Authorization: Bearer ${me.token}\r\n`;
const host = () => `Host: 127.0.0.1:${farebox.port}\r\n`;
const raw = (text: string | Buffer): Promise<Result> => ask(farebox.url, { raw: text });
const whole = (head: string, content = body) => raw(`${head}Content-Length: ${Buffer.byteLength(content)}\r\n\r\n${content}`);

test.each([
  '//v1/chat/completions',
  '/V1/chat/completions',
  '/v1%2fchat/completions',
  '/v1/chat%2Fcompletions',
  '/v1/../v1/chat/completions',
])('G65: %s is not another way to a priced path', async (path) => {
  const before = upstream.requests.length;
  const result = await whole(`POST ${path} HTTP/1.1\r\n${host()}${auth()}Connection: close\r\n`);
  expect(result.status).toBe(404);
  requestIdOf(result);
  expect(upstream.requests.length).toBe(before);
});

test.each([
  '/v1/chat/completions/',
  '/v1/chat/completions;x',
  '/v1/./chat/completions',
  '/v1/audio/speech',
  '/v1/',
  '/v1/embeddings/../files',
])('G65: %s is unknown, in the shape OpenAI clients read', async (path) => {
  const result = await whole(`POST ${path} HTTP/1.1\r\n${host()}${auth()}Connection: close\r\n`);
  expect([result.status, errorOf(result).code]).toEqual([404, 'unknown_url']);
});

test('a priced path is asked with POST, the list of models with GET', async () => {
  for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND']) {
    const result = await ask(`${farebox.url}${CHAT}`, { method, token: me.token });
    expect([method, result.status, errorOf(result).code, result.headers.get('allow')]).toEqual([method, 405, 'method_not_allowed', 'POST']);
  }
  const posted = await post(me, '/v1/models', '{}').end();
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET']);
});

test('the token may come as x-api-key', async () => {
  const headers = { 'x-api-key': me.token, 'content-type': 'application/json' };
  const result = await ask(`${farebox.url}${CHAT}`, { headers, body });
  expect(result.status).toBe(200);
});

const BAD_TOKENS = [
  '',
  'Bearer',
  'Bearer ',
  'Basic abc',
  "Bearer ' OR '1'='1",
  'Bearer sk-fb-x',
  'Bearer sk-real-openai-key-000000000000000',
  'Bearer \u00e4',
];

// A3
test.each([...BAD_TOKENS, `Bearer ${'a'.repeat(5_000)}`])('A1: Authorization %j is a plain 401', async (value) => {
  const head = `POST ${CHAT} HTTP/1.1\r\n${host()}${value ? `Authorization: ${value}\r\n` : ''}Connection: close\r\n`;
  const result = await whole(head);
  expect([result.status, errorOf(result).code, errorOf(result).type]).toEqual([401, 'invalid_api_key', 'authentication_error']);
  requestIdOf(result);
});

test('A5: one wrong character is a wrong token, with or without a right check digit', async () => {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  const next = (text: string, at: number) => text.slice(0, at) + digits[(digits.indexOf(text.charAt(at)) + 1) % 62] + text.slice(at + 1);
  for (const token of [next(me.token, me.token.length - 1), next(me.token, 25), next(me.token, 10)]) {
    expect((await post({ ...me, token }, CHAT, body).end()).status).toBe(401);
  }
  const answer = await post({ ...me, token: farebox.operatorKey }, CHAT, body).end();
  expect([answer.status, errorOf(answer).code]).toEqual([401, 'invalid_api_key']);
});

test('E1: a body beyond the limit is refused, whether it says its length or not', async () => {
  const result = await whole(`POST ${CHAT} HTTP/1.1\r\n${host()}${auth()}`, 'x'.repeat(BODY_MAX + 1));
  expect([result.status, errorOf(result).code]).toEqual([413, 'request_too_large']);
  const chunk = `${(10_000).toString(16)}\r\n${'x'.repeat(10_000)}\r\n`;
  const endless = call(farebox.url, { raw: `POST ${CHAT} HTTP/1.1\r\n${host()}${auth()}Transfer-Encoding: chunked\r\n\r\n` });
  const answer = endless.head();
  for (let sent = 0; sent < 30; sent++) endless.send(chunk);
  expect((await answer).status).toBe(413);
  endless.hangUp();
});

test('E1: the body of somebody without a token is not read', async () => {
  const claim = 1_000_000_000;
  const stranger = call(farebox.url, { raw: `POST ${CHAT} HTTP/1.1\r\n${host()}Content-Length: ${claim}\r\n\r\n{"model":` });
  expect((await stranger.head()).status).toBe(401);
  const result = await stranger.end();
  expect(errorOf(result).code).toBe('invalid_api_key');
  expect(result.headers.get('connection')).toBe('close');
});

test('a refused small body does not cost the connection', async () => {
  const request = `POST ${CHAT} HTTP/1.1\r\n${host()}Content-Length: ${body.length}\r\n\r\n${body}`;
  const twice = call(farebox.url, { raw: request });
  expect((await twice.head()).headers.get('connection')).not.toBe('close');
  twice.hangUp();
});

test('E5: a compressed body is refused before it is unpacked', async () => {
  const bomb = gzipSync(Buffer.alloc(10_000_000));
  for (const encoding of ['gzip', 'br', 'deflate', 'gzip, gzip']) {
    const head = `POST ${CHAT} HTTP/1.1\r\n${host()}${auth()}Content-Encoding: ${encoding}\r\nContent-Length: ${bomb.length}\r\n\r\n`;
    const result = await raw(Buffer.concat([Buffer.from(head), bomb]));
    expect([result.status, errorOf(result).code]).toEqual([415, 'unsupported_content_encoding']);
  }
});

const post1 = () => `POST ${CHAT} HTTP/1.1\r\n`;
const FRAMINGS: readonly (readonly [name: string, request: () => string])[] = [
  ['two hosts', () => `${post1()}${host()}Host: evil.example\r\n${auth()}Content-Length: ${body.length}\r\n\r\n${body}`],
  ['no host', () => `${post1()}${auth()}Content-Length: ${body.length}\r\n\r\n${body}`],
  ['an unknown transfer encoding', () => `${post1()}${host()}${auth()}Transfer-Encoding: xchunked\r\n\r\n${body}`],
  ['two transfer encodings', () => `${post1()}${host()}${auth()}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
  ['a length and chunks', () => `${post1()}${host()}${auth()}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['two lengths', () => `${post1()}${host()}${auth()}Content-Length: 5\r\nContent-Length: 6\r\n\r\n${body}`],
  ['a length with a plus', () => `${post1()}${host()}${auth()}Content-Length: +5\r\n\r\n${body}`],
  ['a folded header', () => `${post1()}${host()}${auth()}X-A: 1\r\n folded\r\nContent-Length: 2\r\n\r\n{}`],
  ['a bare line feed', () => `${post1()}${host()}X-A: 1\nContent-Length: 2\r\n\r\n{}`],
  ['a space before the colon', () => `${post1()}${host()}Content-Length : 2\r\n\r\n{}`],
  ['a NUL in a header', () => `${post1()}${host()}X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}`],
];

test.each(FRAMINGS)('X8: a request with %s is refused, and its connection is closed', async (_name, request) => {
  const before = upstream.requests.length;
  const result = await raw(request());
  expect(result.status).toBe(400);
  requestIdOf(result);
  expect(errorOf(result).type).toBe('invalid_request_error');
  expect(result.headers.get('connection')).toBe('close');
  expect(upstream.requests.length).toBe(before);
});

test('X8: TRACE is refused, and headers that are too large are too', async () => {
  const trace = await raw(`TRACE ${CHAT} HTTP/1.1\r\n${host()}${auth()}\r\n`);
  expect([trace.status, trace.body.toString().includes(me.token)]).toEqual([405, false]);
  const large = await raw(`GET /v1/models HTTP/1.1\r\n${host()}${auth()}X-A: ${'a'.repeat(20_000)}\r\n\r\n`);
  expect(large.status).toBe(431);
  requestIdOf(large);
});

test('E3: headers and bodies that never come are not waited for', async () => {
  const head = call(farebox.url, { raw: `POST ${CHAT} HTTP/1.1\r\n${host()}` });
  const content = call(farebox.url, { raw: `POST ${CHAT} HTTP/1.1\r\n${host()}${auth()}Content-Length: 100\r\n\r\n{` });
  for (const slow of [head, content]) {
    const result = await slow.end();
    expect([408, 0]).toContain(result.status);
  }
});

// X2
test('G14, X6: headers and fields of the client cannot become somebody else', async () => {
  will(up.says('x', up.usage(4, 1)));
  const hostile = {
    'X-Forwarded-For': '1.2.3.4',
    'X-Forwarded-Host': 'evil.example',
    Cookie: 'session=1',
    'OpenAI-Organization': 'org-victim',
    'X-Base-Url': 'http://169.254.169.254/',
    'X-Farebox-Org': 'org_00aaaaaaaaaaaaaa',
    'X-Request-Id': "req_1' OR 1=1 --",
    'X-Agent-Id': 'a'.repeat(3_000),
    'X-Credits-Charged': '0',
    'X-Api-Key': 'sk-somebody-else',
  };
  const mine = {
    ...JSON.parse(body),
    user: 'somebody-else',
    metadata: { price: 0, org_id: 'org_victim' },
    price: 0,
    cost: -1,
    org_id: 'x',
  };
  const { row, result } = await exchange(me, mine, { headers: hostile });
  expect(row).toMatchObject({ charged: { micro: fakeCost(4, 1) }, client_request_id: "req_1' OR 1=1 --" });
  const seen = upstream.requests.at(-1);
  const sent = [...(seen?.headers.keys() ?? [])].sort();
  const ours = [
    'accept-encoding',
    'authorization',
    'connection',
    'content-length',
    'content-type',
    'host',
    'user-agent',
    'x-client-request-id',
  ];
  expect(sent).toEqual(ours);
  expect(seen?.headers.get('authorization')).toBe('Bearer upstream-secret');
  expect(requestIdOf(result)).not.toContain("'");
});

test('X1: a body cannot choose another upstream or key', async () => {
  for (const key of ['api_base', 'base_url', 'api_key', 'custom_llm_provider', 'extra_headers', 'user_config']) {
    const result = await post(me, CHAT, JSON.stringify({ ...JSON.parse(body), [key]: 'http://169.254.169.254/' })).end();
    expect([key, result.status, errorOf(result)]).toMatchObject([key, 400, { code: 'unsupported_parameter', param: key }]);
  }
});

test('X10: of the headers of an upstream only harmless ones pass', async () => {
  const sent: [string, string][] = [
    ['Set-Cookie', 'a=1'],
    ['Server', 'secret-server/1.0'],
    ['Access-Control-Allow-Origin', '*'],
    ['Location', 'http://evil.example'],
    ['Alt-Svc', 'h3=":443"'],
    ['Strict-Transport-Security', 'max-age=1'],
    ['X-Request-Id', 'theirs'],
    ['X-RateLimit-Remaining-Tokens', '5'],
    ['X-Credits-Remaining', '999999'],
    ['OpenAI-Model', 'fake-model-2024'],
    ['OpenAI-Processing-Ms', '12'],
  ];
  will(up.withHeaders(up.says('x', up.usage(4, 1)), ...sent), up.withHeaders(up.says('x', up.usage(4, 1)), ...sent));
  for (const stream of [false, true]) {
    const { result } = await exchange(me, { ...JSON.parse(body), stream });
    const allowed =
      /^(date|connection|keep-alive|content-type|content-length|transfer-encoding|cache-control|x-accel-buffering|x-request-id|x-credits-(charged|remaining)|openai-(model|processing-ms)|x-content-type-options)$/;
    expect([...result.headers.keys()].filter((name) => !allowed.test(name))).toEqual([]);
    expect(result.headers.get('openai-model')).toBe('fake-model-2024');
    expect(result.headers.get('x-credits-remaining')).not.toBe('999999');
  }
});

test('G61: a key for idempotency may be any text, and is not taken for another one', async () => {
  const keys = ['a', 'a ', 'A', '{a}', 'a:b', 'x'.repeat(4_000)];
  for (const key of new Set(keys.map((one) => one.trim()))) {
    const headers = { 'Idempotency-Key': key };
    expect((await post(me, CHAT, body, { headers }).end()).status).toBe(200);
    expect((await post(me, CHAT, body, { headers }).end()).status).toBe(409);
  }
});

// C4
test('health and metrics say nothing that is secret', async () => {
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    const answer = await fetch(`${farebox.url}${path}`);
    requestIdOf(answer as unknown as Result);
    const text = await answer.text();
    for (const secret of ['upstream-secret', me.token, farebox.operatorKey, me.orgId]) expect(text).not.toContain(secret);
  }
});

test('metrics say how holds end, how long they take and what they set aside', async () => {
  will(up.says(up.gate('held'), 'x'));
  const running = post(me, CHAT, JSON.stringify({ ...JSON.parse(body), stream: true }));
  await upstream.reached('held');
  await eventually('credits are set aside', async () => {
    const text = await (await fetch(`${farebox.url}/metrics`)).text();
    expect(text).toMatch(/^farebox_holds_total\{outcome="held"\} [1-9]/m);
    expect(text).toMatch(/^farebox_hold_seconds_count [1-9]/m);
    return /^farebox_credits_held [1-9]/m.test(text) ? true : undefined;
  });
  upstream.open('held');
  expect((await running.end()).done).toBe(true);
});

test('G63: looking at the list of models costs nothing and leaves no row', async () => {
  const before = [await quiet(farebox, me.orgId), (await farebox.logs(me.orgId)).length];
  for (const path of ['/v1/models', '/v1/models/fake-model', '/v1/models']) {
    const answer = await fetch(`${farebox.url}${path}`, { headers: { authorization: `Bearer ${me.token}` } });
    expect(answer.status).toBe(200);
  }
  expect([await quiet(farebox, me.orgId), (await farebox.logs(me.orgId)).length]).toEqual(before);
});

test('pipelined requests are answered one after the other, each once', async () => {
  const one = `POST ${CHAT} HTTP/1.1\r\n${host()}${auth()}Content-Length: ${body.length}\r\n\r\n${body}`;
  const last = `GET /v1/models HTTP/1.1\r\n${host()}${auth()}Connection: close\r\n\r\n`;
  const before = upstream.requests.length;
  const wire = await everythingOn(farebox.url, one.repeat(5) + last);
  await upstream.quiet();
  expect(wire.match(/HTTP\/1\.1 \d+/g)).toEqual(Array(6).fill('HTTP/1.1 200'));
  expect(wire.lastIndexOf('"object":"list"')).toBeGreaterThan(wire.lastIndexOf('"object":"chat.completion"'));
  expect(upstream.requests.length).toBe(before + 5);
});

/** What a connection carries back until the server closes it, however many answers that is. */
function everythingOn(url: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.on('end', () => resolve(Buffer.concat(parts).toString()));
    socket.on('error', reject);
    socket.write(bytes);
  });
}

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, [me.orgId]);
});
