import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, expectCleanBooks, post, quiet } from './books.js';

let upstream: up.Upstream;
let farebox: Farebox;
let me: Client;

beforeAll(async () => {
  upstream = await up.startUpstream();
  upstream.always(up.says('ok', up.noUsage())); // so that everything is counted as well
  const database = await freshDatabase(inject('databaseUrl'));
  farebox = await startFarebox({
    upstream: upstream.url,
    databaseUrl: database.url,
    config: { part_bounds: { image: 2500, audio: 4000, file: 20_000 } },
  });
  const { orgId, token } = await farebox.customer(10_000_000);
  me = { farebox, orgId, token };
});
afterAll(() => upstream.stop());

const CHAT = '/v1/chat/completions';
const message = (content: unknown) =>
  JSON.stringify({ model: 'fake-model', max_tokens: 10, stream: true, messages: [{ role: 'user', content }] });
const SIZE = 400_000;
const filled = (unit: string, length = SIZE) => unit.repeat(Math.ceil(length / unit.length)).slice(0, length);

const TEXTS: readonly (readonly [name: string, body: () => string])[] = [
  ['Han characters', () => message(filled('漢'))],
  ['emoji', () => message(filled('😀'))],
  ['family emoji', () => message(filled('👨‍👩‍👧‍👦'))],
  ['ab ab ab', () => message(filled('ab'))],
  ['line feeds', () => message(filled('\n'))],
  ['spaces', () => message(filled(' '))],
  ['combining marks', () => message(filled('e\u0301\u0302\u0303'))],
  ['half surrogates', () => message(filled('\ud800'))],
  ['special tokens', () => message(filled('<|endoftext|>'))],
  ['base64', () => message(filled('QUJDREVGR0g'))],
  ['quotes', () => message(filled('"'))],
  ['backslashes', () => message(filled('\\'))],
  ['ten megabytes of numbers', () => message(undefined).replace(/}]}$/, `,"content":"x","extra":[${filled('1,2,3,', 10_000_000)}0]}]}`)],
  [
    'an image of five megabytes',
    () => message([{ type: 'image_url', image_url: { url: `data:image/png;base64,${filled('iVBORw0KGgo', 5_000_000)}` } }]),
  ],
  [
    'many small messages',
    () => JSON.stringify({ model: 'fake-model', max_tokens: 10, messages: Array(60_000).fill({ role: 'user', content: 'x' }) }),
  ],
  ['many keys', () => `{"model":"fake-model","max_tokens":10,"messages":[{"role":"user","content":"x"}],${keys(100_000)}}`],
  ['escapes', () => `{"model":"fake-model","max_tokens":10,"messages":[{"role":"user","content":"${filled('\\u6f22', 3_000_000)}"}]}`],
];
const keys = (count: number): string => Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join(',');

const REFUSED: readonly (readonly [name: string, body: () => string, code: string])[] = [
  ['a million brackets', () => message('x').replace(']', `,${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}]`), 'too_deep'],
  ['a million open brackets', () => message('x').replace(']', `,${'['.repeat(1_000_000)}`), 'too_deep'],
  ['a million objects', () => message('x').replace(']', `,${'{"a":'.repeat(1_000_000)}`), 'too_deep'],
  ['ten megabytes of nothing', () => ' '.repeat(10_000_000), 'invalid_json'],
  ['a string without an end', () => `{"model":"${filled('x', 10_000_000)}`, 'invalid_json'],
];

/** Far above what a busy machine does to an idle server, far below what one tokenized run of emoji would take. */
const LOOP_MS_MAX = 1_000;

/** The longest that /healthz took while the work was going on. */
async function slowestHealth(work: Promise<unknown>): Promise<{ slowestMs: number; looks: number }> {
  let isOver = false;
  const over = work.finally(() => {
    isOver = true;
  });
  let slowestMs = 0;
  let looks = 0;
  while (!isOver) {
    const started = performance.now();
    expect((await fetch(`${farebox.url}/healthz`)).status).toBe(200);
    slowestMs = Math.max(slowestMs, performance.now() - started);
    looks += 1;
    await new Promise((go) => setTimeout(go, 2));
  }
  await over;
  return { slowestMs, looks };
}

// B17
test.each(TEXTS)('R10: %s stop nobody else, neither while they are read nor while they are counted', async (_name, make) => {
  const body = make();
  const send = async () => {
    const result = await post(me, CHAT, body).end();
    expect(result.status).toBe(200);
  };
  const settled = Promise.all([send(), send(), send()]).then(() => quiet(farebox, me.orgId, 90_000));
  const { slowestMs, looks } = await slowestHealth(settled);
  expect(looks).toBeGreaterThan(1);
  expect(slowestMs).toBeLessThan(LOOP_MS_MAX);
});

test.each(REFUSED)('R10: %s are refused without stopping anybody', async (_name, make, code) => {
  const body = make();
  const before = upstream.requests.length;
  const send = async () => errorOf(await post(me, CHAT, body).end()).code;
  const codes = Promise.all([send(), send(), send()]);
  const { slowestMs } = await slowestHealth(codes);
  expect(await codes).toEqual([code, code, code]);
  expect(slowestMs).toBeLessThan(LOOP_MS_MAX);
  expect(upstream.requests.length).toBe(before);
});

test('E11: names that nearly match for a long time are compared at once', async () => {
  const token = await farebox.createToken(me.orgId, { models: Array.from({ length: 400 }, (_, i) => `${'a'.repeat(200)}${i}*`) });
  const send = () =>
    post({ ...me, token: token.secret }, CHAT, JSON.stringify({ ...JSON.parse(message('x')), model: 'a'.repeat(250) })).end();
  const { slowestMs } = await slowestHealth(Promise.all(Array.from({ length: 50 }, send)));
  expect(slowestMs).toBeLessThan(LOOP_MS_MAX);
});

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(farebox, [me.orgId]);
});
