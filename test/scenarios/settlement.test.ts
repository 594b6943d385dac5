import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { readJournals } from '../../proof/journals.js';
import { freshDatabase } from '../support/postgres.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { call } from '../support/sse.js';
import * as up from '../support/upstream.js';
import {
  type Client,
  countedCost,
  errorOf,
  exchange,
  expectCleanBooks,
  fakeCost,
  post,
  quiet,
  requestIdOf,
  rowOf,
  scriptOf,
  walletOf,
} from './books.js';

let upstream: up.Upstream;
let normal: Farebox;
let strict: Farebox;
let will: (...answers: up.Answer[]) => void;
const CHAT = '/v1/chat/completions';

beforeAll(async () => {
  upstream = await up.startUpstream();
  const start = async (config: Record<string, unknown>) => {
    const database = await freshDatabase(inject('databaseUrl'));
    return startFarebox({ upstream: upstream.url, databaseUrl: database.url, config });
  };
  [normal, strict] = await Promise.all([start({}), start({ admission: 'strict' })]);
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(() => upstream.stop());

const chat = (more: Record<string, unknown> = {}) => ({
  model: 'fake-model',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'hi' }],
  ...more,
});

async function clientOf(farebox: Farebox, credits: string | number): Promise<Client> {
  const { orgId, token } = await farebox.customer(credits);
  return { farebox, orgId, token };
}

test('G17: what was set aside and not used is there again for the very next request', async () => {
  const hold = (await exchange(await clientOf(normal, 100), chat())).row.held.micro;
  const client = await clientOf(normal, ((hold + 10_000) / 1_000_000).toFixed(6));
  will(...Array.from({ length: 4 }, () => up.says('x', up.usage(1, 1))));
  for (let i = 0; i < 4; i++) {
    const result = await post(client, CHAT, JSON.stringify(chat())).end();
    expect([i, result.status]).toEqual([i, 200]);
  }
  expect((await quiet(normal, client.orgId)).available).toBe(hold + 10_000 - 4 * fakeCost(1, 1));
});

test('no upstream hears of a request before the journal has it: killed and wiped at that moment, it is still remembered', async () => {
  const client = await clientOf(normal, 10);
  const heard: { id: string; isRemembered: boolean }[] = [];
  upstream.always(({ headers }) => {
    const id = headers.get('x-client-request-id') ?? '';
    heard.push({ id, isRemembered: readJournals(normal.data).unsettled.has(id) });
    return up.says('x', up.usage(1, 1));
  });
  for (let i = 0; i < 10; i++) expect((await post(client, CHAT, JSON.stringify(chat({ stream: i % 2 === 0 }))).end()).status).toBe(200);
  expect(heard.map(({ isRemembered }) => isRemembered)).toEqual(Array(10).fill(true));
  expect(new Set(heard.map(({ id }) => id)).size).toBe(10);
});

test('the answer says what it cost and what is left, and the wallet agrees', async () => {
  const client = await clientOf(normal, 10);
  will(up.says('x', up.usage(50, 7)));
  const { result } = await exchange(client, chat());
  expect(result.headers.get('x-credits-charged')).toBe(String(fakeCost(50, 7) / 1e6));
  expect(result.headers.get('x-credits-remaining')).toBe(String(10 - fakeCost(50, 7) / 1e6));
  expect((await quiet(normal, client.orgId)).available).toBe(10_000_000 - fakeCost(50, 7));
});

test('G18: in normal mode usage beyond the hold is charged in full, flagged as debt, and the next request is refused', async () => {
  const client = await clientOf(normal, 1);
  will(up.says('x', up.usage(20, 5_000, { reasoning: 4_990 })));
  const { row, result } = await exchange(client, chat());
  expect(result.status).toBe(200);
  expect(row).toMatchObject({ debt: true, charged: { micro: fakeCost(20, 5_000) }, usage: { reasoning: 4_990 } });
  expect((await quiet(normal, client.orgId)).available).toBe(1_000_000 - fakeCost(20, 5_000));
  const next = await post(client, CHAT, JSON.stringify(chat())).end();
  expect([next.status, errorOf(next).code, next.headers.get('x-should-retry')]).toEqual([402, 'insufficient_quota', 'false']);
  await normal.grant(client.orgId, 10);
  expect((await quiet(normal, client.orgId)).available).toBe(11_000_000 - fakeCost(20, 5_000));
  expect((await post(client, CHAT, JSON.stringify(chat())).end()).status).toBe(200);
});

test('G18: in strict mode a charge never exceeds its hold, and the balance never falls below zero', async () => {
  const client = await clientOf(strict, 1);
  will(up.says('x', up.usage(20, 5_000, { reasoning: 4_990 })));
  const { row } = await exchange(client, chat());
  expect(row).toMatchObject({ debt: false, usage: { output: 5_000 } });
  expect(row.charged.micro).toBe(row.held.micro);
  const { available } = await quiet(strict, client.orgId);
  expect(available).toBe(1_000_000 - row.held.micro);
  expect(available).toBeGreaterThanOrEqual(0);
  expect(await (await fetch(`${strict.url}/metrics`)).text()).toMatch(/operator_loss\w* [1-9]|operator_loss\w* 0\.\d*[1-9]/);
});

test('G18: in strict mode what we count ourselves stays within the hold', async () => {
  const client = await clientOf(strict, 100);
  for (const content of ['漢字'.repeat(500), '😀'.repeat(500), '<|endoftext|>'.repeat(100), 'plain words '.repeat(200)]) {
    will(up.says('ok', up.noUsage()));
    const { row } = await exchange(client, chat({ messages: [{ role: 'user', content }] }));
    expect(row).toMatchObject({ source: 'estimated', debt: false });
    expect(row.charged.micro).toBeLessThanOrEqual(row.held.micro);
  }
});

test('G22, G25: however often the books are drained, each request is there once', async () => {
  const client = await clientOf(normal, 1_000);
  will(...Array.from({ length: 60 }, () => up.says('x', up.usage(10, 2))));
  const results = await Promise.all(Array.from({ length: 60 }, () => post(client, CHAT, JSON.stringify(chat())).end()));
  const wallet = await quiet(normal, client.orgId);
  expect(wallet.available).toBe(1_000_000_000 - 60 * fakeCost(10, 2));
  const rows = await normal.logs(client.orgId, '?limit=200');
  expect(new Set(rows.map((row) => row['request_id']))).toEqual(new Set(results.map(requestIdOf)));
  expect(rows).toHaveLength(60);
});

async function streaming(client: Client, count: number, gate: string) {
  will(...Array.from({ length: count }, () => up.says('one ', up.gate(gate), 'two', up.usage(10, 2))));
  const sent = JSON.stringify(chat({ stream: true }));
  const calls = Array.from({ length: count }, () => post(client, CHAT, sent));
  await Promise.all(calls.map((one) => one.until('one ')));
  return { calls, sent: Buffer.from(sent) };
}

test('G21: on SIGTERM running streams finish, new ones are turned away, and everything is settled at the end', async () => {
  const client = await clientOf(normal, 1_000);
  const { calls } = await streaming(client, 20, 'drain');
  const exit = new Promise((resolve) => normal.child.once('exit', resolve));
  normal.child.kill('SIGTERM');
  await untilNotReady(normal);
  const late = await post(client, CHAT, JSON.stringify(chat())).end();
  expect([late.status, errorOf(late).code, late.headers.get('retry-after')]).toEqual([503, 'shutting_down', '1']);
  upstream.open('drain');
  const results = await Promise.all(calls.map((one) => one.end()));
  for (const result of results) expect(result).toMatchObject({ text: 'one two', done: true, ending: 'complete' });
  expect(await exit).toBe(0);
  normal = await normal.restart();
  for (const result of results) {
    const row = await rowOf(normal, client.orgId, requestIdOf(result));
    expect(row).toMatchObject({ status: 'complete', charged: { micro: fakeCost(10, 2) } });
  }
  expect((await quiet(normal, client.orgId)).available).toBe(1_000_000_000 - 20 * fakeCost(10, 2));
});

test('G21: a second signal ends running streams with an error event, and charges what was delivered', async () => {
  const client = await clientOf(normal, 1_000);
  const { calls, sent } = await streaming(client, 5, 'cut');
  const exit = new Promise((resolve) => normal.child.once('exit', resolve));
  normal.child.kill('SIGTERM');
  await untilNotReady(normal);
  normal.child.kill('SIGTERM');
  const results = await Promise.all(calls.map((one) => one.end()));
  expect(await exit).toBe(0);
  normal = await normal.restart();
  for (const result of results) {
    expect(result).toMatchObject({ text: 'one ', done: false, ending: 'complete' });
    expect(result.events.at(-1)?.json).toHaveProperty('error.code', 'shutting_down');
    const delivered = Buffer.from(`${result.body.toString().split('\n\n')[0]}\n\n`);
    const row = await rowOf(normal, client.orgId, requestIdOf(result));
    expect(row.charged.micro).toBe(await countedCost({ request: sent, response: [delivered], stream: true }));
  }
  expect((await walletOf(normal, client.orgId)).inFlight).toBe(0);
});

async function untilNotReady(farebox: Farebox): Promise<void> {
  for (;;) if ((await call(`${farebox.url}/readyz`).head()).status === 503) return;
}

test('after all of this the books are clean and nothing is held', async () => {
  await upstream.quiet();
  await expectCleanBooks(normal, []);
  await expectCleanBooks(strict, []);
});
