import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { ask, call } from '../support/sse.js';
import * as up from '../support/upstream.js';

let upstream: up.Upstream;
let redis: RedisServer;
let farebox: Farebox;
let token: string;

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  const { url } = await freshDatabase(inject('databaseUrl'));
  farebox = await startFarebox({ upstream: upstream.url, databaseUrl: url, redisUrl: redis.url, processes: 2 });
  token = (await farebox.customer(1_000)).token;
});
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

const chat = () => `${farebox.url}/v1/chat/completions`;
const words = (stream: boolean) => ({ token, json: { model: 'fake-model', stream, messages: [{ role: 'user', content: 'hi' }] } });
const said = (words: string) => farebox.stdout().includes(words) || farebox.stderr().includes(words);

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within a minute\n${farebox.stdout().slice(-2_000)}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

/** Each with a connection of its own: one that is kept may be closed by a process that has gone just when it is used again. */
const number = async (line: RegExp): Promise<number> => {
  const { body } = await ask(`${farebox.url}/metrics`);
  return Number(line.exec(body.toString())?.[1]);
};
const GATEWAYS = /^farebox_price_version_info\{[^}]*\} (\d+)$/m;

test('/metrics adds up what all processes have counted', async () => {
  await Promise.all(Array.from({ length: 12 }, () => ask(chat(), words(false))));
  expect(await number(GATEWAYS)).toBe(2);
  expect(await number(/^farebox_requests_total\{[^}]*status="200"[^}]*\} (\d+)$/m)).toBe(12);
  expect(await number(/^farebox_request_seconds_count\{[^}]*\} (\d+)$/m)).toBe(12);
  await until('the office has booked them', async () => (await number(/^farebox_drained_total (\d+)$/m)) === 12);
});

test('while every process is replaced, requests are served and a stream runs to its end', async () => {
  upstream.will(up.says('one', up.gate('replaced'), ' two', up.usage(2, 2)));
  const running = call(chat(), words(true));
  await running.until('one');
  farebox.child.kill('SIGUSR2');
  const statuses = new Set<number>();
  const deadline = Date.now() + 8_000;
  while (Date.now() < deadline) {
    statuses.add((await ask(chat(), words(false))).status);
    statuses.add((await ask(`${farebox.url}/readyz`)).status);
    statuses.add((await farebox.api('GET', '/api/v1/admin/orgs')).status);
  }
  expect([...statuses]).toEqual([200]);
  upstream.open('replaced');
  expect(await running.end()).toMatchObject({ done: true, text: 'one two' });
  expect((await farebox.reconcile()).clean).toBe(true);
});

test('who asks for new processes while they are being replaced gets another round, because a file may have changed since', async () => {
  const rounds = (): number => farebox.stderr().concat(farebox.stdout()).split('replacing the processes one by one').length - 1;
  await until('two gateways', async () => (await number(GATEWAYS)) === 2);
  const before = rounds();
  farebox.child.kill('SIGUSR2');
  await until('the first round', () => rounds() === before + 1);
  farebox.child.kill('SIGUSR2');
  await until('the second round', () => rounds() === before + 2);
  expect((await ask(chat(), words(false))).status).toBe(200);
});

test('when the new processes cannot start because of a mistake in the configuration, the old ones go on', async () => {
  const file = join(farebox.data, 'config.yaml');
  const good = readFileSync(file, 'utf8');
  await until('two gateways', async () => (await number(GATEWAYS)) === 2);
  try {
    writeFileSync(file, '{ "upstreams": 7 }');
    farebox.child.kill('SIGUSR2');
    await until('the refusal', () => said('a new gateway process could not start'));
    expect((await ask(chat(), words(false))).status).toBe(200);
    expect(farebox.child.exitCode).toBeNull();
  } finally {
    writeFileSync(file, good);
  }
  expect((await ask(chat(), words(false))).status).toBe(200);
});
