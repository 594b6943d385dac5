import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, type FareboxOptions, startFarebox } from '../support/server.js';

/** Behind a proxy that is named in the configuration; the test plays the proxy. */
const behind = (options: FareboxOptions = {}) => startFarebox({ config: { server: { trusted_proxies: ['127.0.0.0/8'] } }, ...options });

let whole: Farebox;
let database: TestDatabase;
let redis: RedisServer;
let apart: Farebox;

beforeAll(async () => {
  whole = await behind();
  database = await freshDatabase(inject('databaseUrl'));
  redis = await startRedis();
  apart = await behind({ databaseUrl: database.url, redisUrl: redis.url, processes: 1 });
});

afterAll(async () => {
  await Promise.all([whole.stop(), apart.stop()]);
  await Promise.all([database.drop(), redis.stop()]);
});

const from = (address: string, token: string) => ({ authorization: `Bearer ${token}`, 'x-forwarded-for': address });

async function allowed(server: Farebox, path: string, headers: Record<string, string>): Promise<number> {
  const answer = await fetch(`${server.url}${path}`, { headers });
  await answer.arrayBuffer();
  return answer.status;
}

// A11, E10: what a client writes into the header itself stands left of what the proxy adds.
test.each(['in one process', 'in processes apart'])('%s the allowed addresses of a token are those of clients', async (where) => {
  const server = where === 'in one process' ? whole : apart;
  const org = await server.createOrg();
  await server.grant(org, 10);
  const { secret } = await server.createToken(org, { ip_allow: ['198.51.100.0/24', '2001:db8::/32'] });
  for (const path of ['/v1/models', '/v1/credits']) {
    expect(await allowed(server, path, from('198.51.100.7', secret))).toBe(200);
    expect(await allowed(server, path, from('2001:db8::7', secret))).toBe(200);
    expect(await allowed(server, path, from('203.0.113.7', secret))).toBe(403);
    expect(await allowed(server, path, from('198.51.100.7, 203.0.113.7', secret))).toBe(403);
    expect(await allowed(server, path, from('198.51.100.7, nonsense', secret))).toBe(403);
    expect(await allowed(server, path, { authorization: `Bearer ${secret}` })).toBe(403);
  }
  const asked = (address: string) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...from(address, secret), 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hello' }] }),
    });
  const good = await asked('198.51.100.7');
  expect(good.status, await good.text()).toBe(200);
  const bad = await asked('203.0.113.7');
  expect([bad.status, await bad.json()]).toMatchObject([403, { error: { code: 'ip_not_allowed' } }]);
});

test.each(['in one process', 'in processes apart'])(
  '%s visitors behind the proxy are told apart, in sessions and in limits',
  async (where) => {
    const server = where === 'in one process' ? whole : apart;
    const post = (path: string, body: object, address: string) =>
      fetch(`${server.url}/api/v1/auth/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: server.url, 'x-forwarded-for': address },
        body: JSON.stringify(body),
      });
    const person = { email: 'ada@example.com', password: 'correct horse battery staple' };
    expect((await post('sign-up', person, '198.51.100.7')).status).toBe(202);
    const signedIn = await post('sign-in', person, '1.2.3.4, 198.51.100.7');
    const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? '';
    const listed = await fetch(`${server.url}/api/v1/auth/sessions`, { headers: { cookie } });
    expect(await listed.json()).toMatchObject({ data: [{ address: '198.51.100.7' }] });

    const wrong = { ...person, password: 'wrong horse battery staple' };
    const tries = async (count: number, address: (n: number) => string) => {
      const statuses = [];
      for (let n = 0; n < count; n++) statuses.push((await post('sign-in', wrong, address(n))).status);
      return statuses;
    };
    expect((await tries(6, (n) => `9.9.9.${n}, 203.0.113.7`)).at(-1)).toBe(429);
    expect(await tries(1, () => '203.0.113.8')).toEqual([401]);
  },
);
