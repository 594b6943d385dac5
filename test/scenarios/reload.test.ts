import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { call } from '../support/sse.js';
import * as up from '../support/upstream.js';
import { type Client, eventually, exchange, expectCleanBooks, fakeCost, post, requestIdOf, rowOf } from './books.js';

// What a file that is named inside the configuration says is only read again on SIGHUP: no watcher sees it change.

const KINDS = [
  { kind: 'one process', processes: 1 },
  { kind: 'two gateways', processes: 2 },
] as const;

let first: up.Upstream;
let second: up.Upstream;
let redis: RedisServer;
const folder = mkdtempSync(join(tmpdir(), 'farebox-reload-'));
const servers = new Map<string, Farebox>();
const clients = new Map<string, Client>();

beforeAll(async () => {
  [first, second, redis] = await Promise.all([up.startUpstream(), up.startUpstream(), startRedis()]);
  for (const { kind, processes } of KINDS) {
    const [price, key] = [join(folder, `${kind} price`), join(folder, `${kind} key`)];
    writeFileSync(price, '1');
    writeFileSync(key, 'first-key');
    const { url } = await freshDatabase(inject('databaseUrl'));
    const farebox = await startFarebox({
      upstream: first.url,
      databaseUrl: url,
      config: { upstreams: { fake: { api_key: `\${file:${key}}` } }, models: { 'fake-model': { ratio: `\${file:${price}}` } } },
      ...(processes > 1 ? { redisUrl: redis.url, processes } : {}),
    });
    servers.set(kind, farebox);
    const { orgId, token } = await farebox.customer(10_000);
    clients.set(kind, { farebox, orgId, token });
  }
});
afterAll(async () => {
  await Promise.all([first.stop(), second.stop(), redis.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

const chat = (model = 'fake-model', stream = false) => ({ model, stream, messages: [{ role: 'user', content: 'hi' }] });
/** Each call opens a connection, and the connections go round the processes. */
const PER_PROCESS = 4;

async function metric(farebox: Farebox, line: RegExp): Promise<number[]> {
  const text = (await call(`${farebox.url}/metrics`).end()).body.toString();
  return [...text.matchAll(line)].map(([, value]) => Number(value));
}

const said = (farebox: Farebox): string => `${farebox.stdout()}${farebox.stderr()}`;
const timesSaid = (farebox: Farebox, words: string): number => said(farebox).split(words).length - 1;

describe.each(KINDS)('$kind', ({ kind, processes }) => {
  const me = () => clients.get(kind) as Client;
  const server = () => servers.get(kind) as Farebox;
  const readers = processes > 1 ? processes + 1 : 1; // the gateways, and the office beside them
  const config = () => join(server().data, 'config.yaml');
  const all = <T>(one: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: processes * PER_PROCESS }, one));

  /** SIGHUP, and every process has said what it made of it. */
  async function hup(words: string): Promise<void> {
    const before = timesSaid(server(), words);
    server().child.kill('SIGHUP');
    await eventually(`every process said "${words}"`, async () => timesSaid(server(), words) >= before + readers || undefined);
  }

  test('SIGHUP: a changed price counts for the next request, and not for the one that runs', async () => {
    first.always(up.says('ok', up.usage(10, 2)));
    const before = await all(() => exchange(me(), chat()));
    expect(new Set(before.map(({ row }) => row.charged.micro))).toEqual(new Set([fakeCost(10, 2)]));
    first.will(up.says('one ', up.gate(`price ${kind}`), 'two', up.usage(10, 2)));
    const running = post(me(), '/v1/chat/completions', JSON.stringify(chat('fake-model', true)));
    await running.until('one ');

    writeFileSync(join(folder, `${kind} price`), '3');
    expect((await exchange(me(), chat())).row.charged.micro).toBe(fakeCost(10, 2)); // nobody was told yet
    await hup('the configuration was reloaded');

    const after = await all(() => exchange(me(), chat()));
    expect(new Set(after.map(({ row }) => row.charged.micro))).toEqual(new Set([3 * fakeCost(10, 2)]));
    const [version] = new Set(after.map(({ row }) => row.price_version));
    expect(version).not.toBe(before[0]?.row.price_version);
    expect(await metric(server(), new RegExp(`^farebox_price_version_info\\{version="${version}"\\} (\\d+)$`, 'gm'))).toEqual([processes]);
    first.open(`price ${kind}`);
    const row = await rowOf(server(), me().orgId, requestIdOf(await running.end()));
    expect(row).toMatchObject({ charged: { micro: fakeCost(10, 2) }, price_version: before[0]?.row.price_version });
  });

  test('SIGHUP: a key that was changed is the one the upstream gets from then on', async () => {
    writeFileSync(join(folder, `${kind} key`), 'second-key');
    await hup('the configuration was reloaded');
    const from = first.requests.length;
    await all(() => exchange(me(), chat()));
    const keys = first.requests.slice(from).map(({ headers }) => headers.get('authorization'));
    expect(new Set(keys)).toEqual(new Set(['Bearer second-key']));
  });

  test('an upstream that is new serves, and one that is gone does not', async () => {
    const good = readFileSync(config(), 'utf8');
    const tree = JSON.parse(good) as { upstreams: Record<string, unknown>; models: Record<string, unknown> };
    second.always(up.says('from the second', up.usage(10, 2)));
    expect((await post(me(), '/v1/chat/completions', JSON.stringify(chat('new-model'))).end()).status).toBe(404);
    tree.upstreams['added'] = { base_url: second.url, api_key: 'another', models: ['new-*'] };
    tree.models['new-model'] = { ratio: 2, output: '4x' };
    writeFileSync(config(), JSON.stringify(tree));
    await hup('the configuration was reloaded');
    const served = await all(() => exchange(me(), chat('new-model')));
    for (const { row } of served) expect(row).toMatchObject({ upstream: 'added', charged: { micro: 2 * fakeCost(10, 2) } });

    writeFileSync(config(), good);
    await hup('the configuration was reloaded');
    const gone = await all(() => post(me(), '/v1/chat/completions', JSON.stringify(chat('new-model'))).end());
    expect(new Set(gone.map(({ status }) => status))).toEqual(new Set([404]));
  });

  test('a file with mistakes changes nothing and is said in log, /readyz and metrics, until a good one is there', async () => {
    const good = readFileSync(config(), 'utf8');
    const invalid = () => metric(server(), /^farebox_config_invalid (\d+)$/gm);
    const ready = () => all(async () => (await call(`${server().url}/readyz`).end()).json as { status: string; detail: object });
    const costs = async () => new Set((await all(() => exchange(me(), chat()))).map(({ row }) => row.charged.micro));
    expect(await invalid()).toEqual([0]);

    writeFileSync(config(), good.replace('"ratio"', '"rattio"'));
    await hup('the configuration was not reloaded');
    expect(said(server())).toMatch(/config\.yaml.{0,20}rattio|rattio.*did you mean .{0,4}ratio/);
    expect(await invalid()).toEqual([1]);
    for (const answer of await ready()) {
      expect(answer).toMatchObject({ status: 'ready', detail: { config: expect.stringContaining('last good one is in force') } });
    }
    expect(await costs()).toEqual(new Set([3 * fakeCost(10, 2)]));

    writeFileSync(config(), good);
    await hup('the configuration was reloaded');
    expect(await invalid()).toEqual([0]);
    for (const answer of await ready()) expect(answer.detail).not.toHaveProperty('config');
    expect(await costs()).toEqual(new Set([3 * fakeCost(10, 2)]));
  });

  test('after all of this the books are clean', async () => {
    await expectCleanBooks(server(), [me().orgId]);
  });
});
