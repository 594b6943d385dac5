import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.js';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import { call } from '../support/sse.js';
import * as up from '../support/upstream.js';
import { type Client, eventually, expectCleanBooks, fakeCost, post, requestIdOf, rowOf, walletOf } from './books.js';

let upstream: up.Upstream;
let redis: RedisServer;
let db: Database;
let farebox: Farebox;

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis()]);
  upstream.always(up.says('ok', up.usage(10, 2)));
  const { url } = await freshDatabase(inject('databaseUrl'));
  db = openDatabase({ url, max: 1 });
  farebox = await startFarebox({ upstream: upstream.url, databaseUrl: url, redisUrl: redis.url, processes: 1 });
});
afterAll(async () => {
  await db.close();
  await Promise.all([upstream.stop(), redis.stop()]);
});

const client = async (): Promise<Client> => ({ farebox, ...(await farebox.customer(100)) });
const chat = JSON.stringify({ model: 'fake-model', messages: [{ role: 'user', content: 'hi' }] });
const ask = async (who: Client): Promise<string> => requestIdOf(await post(who, '/v1/chat/completions', chat).end());
const metric = async (): Promise<number> => {
  const text = (await call(`${farebox.url}/metrics`).end()).body.toString();
  return Number(/^farebox_poison_rows_total (\d+)$/m.exec(text)?.[1]);
};
const health = async () => (await farebox.api('GET', '/api/v1/admin/health')).body;
const aside = async () => (await farebox.api('GET', '/api/v1/admin/set-aside')).body['data'] as { id: string; request_id: string }[];

test('G26: a charge that cannot be booked is set aside and announced while all others flow, and booked once it can be', async () => {
  const [unlucky, other] = [await client(), await client()];
  expect(JSON.stringify(await health())).toContain('"set_aside":0');
  await db.query(`alter table usage_records add constraint out_of_order check (org_id <> '${unlucky.orgId}') not valid`, []);

  const poisoned = await ask(unlucky);
  const flowing = [await ask(other), await ask(other), await ask(other)];
  for (const id of flowing) expect((await rowOf(farebox, other.orgId, id)).charged.micro).toBe(fakeCost(10, 2));
  await eventually('it is set aside', async () => ((await aside()).length > 0 ? true : undefined));
  expect((await aside()).map(({ request_id }) => request_id)).toEqual([poisoned]);
  expect(await farebox.logs(unlucky.orgId)).toEqual([]);

  // What was delivered stays owed: it is neither spent nor free.
  expect(await walletOf(farebox, unlucky.orgId)).toMatchObject({ available: 100_000_000 - fakeCost(10, 2), pending: fakeCost(10, 2) });
  expect(await metric()).toBe(1);
  expect(JSON.stringify(await health())).toContain('"set_aside":1');
  expect(farebox.stdout() + farebox.stderr()).toContain('a charge could not be booked and was set aside in poison_rows');
  expect(await farebox.reconcile()).toMatchObject({ clean: false, findings: [{ check: 'nothing_set_aside' }] });

  await db.query('alter table usage_records drop constraint out_of_order', []);
  const [one] = await aside();
  expect((await farebox.api('POST', `/api/v1/admin/set-aside/${one?.id}/book`, {})).status).toBe(200);
  expect((await rowOf(farebox, unlucky.orgId, poisoned)).charged.micro).toBe(fakeCost(10, 2));
  await expectCleanBooks(farebox, [unlucky.orgId, other.orgId]);
  expect(await metric()).toBe(1);
});
