import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import { freshDatabase } from '../support/postgres.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, expectCleanBooks, post, quiet, scriptOf } from './books.js';

/** Ten credits each, no more and no less. */
const config = { upstreams: { fake: { models: ['fake-*'] } }, models: { 'fake-flat': { per: 'request', price: 10 } } };
const body = JSON.stringify({ model: 'fake-flat', messages: [{ role: 'user', content: 'hi' }] });

let upstream: up.Upstream;
let redis: RedisServer;
const servers: Record<string, Farebox> = {};

beforeAll(async () => {
  [upstream, redis] = await Promise.all([up.startUpstream(), startRedis({ appendonly: true })]);
  scriptOf(upstream);
  const [one, two] = await Promise.all([freshDatabase(inject('databaseUrl')), freshDatabase(inject('databaseUrl'))]);
  servers['in the process'] = await startFarebox({ upstream: upstream.url, config, databaseUrl: one.url });
  servers['in Redis'] = await startFarebox({ upstream: upstream.url, config, databaseUrl: two.url, redisUrl: redis.url, processes: 2 });
});
afterAll(() => Promise.all([upstream.stop(), redis.stop()]));

/** Somebody who has signed up, with the organization of their own. */
async function newPerson(farebox: Farebox) {
  let cookie = '';
  const send = async (method: string, path: string, input?: unknown) => {
    const headers = { origin: farebox.url, 'content-type': 'application/json', 'idempotency-key': newRequestId(), cookie };
    const answer = await fetch(`${farebox.url}${path}`, {
      method,
      headers: method === 'GET' ? { cookie } : headers,
      ...(input === undefined ? {} : { body: JSON.stringify(input) }),
    });
    for (const line of answer.headers.getSetCookie()) cookie = line.split(';')[0] ?? '';
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const who = { email: `${newRequestId()}@example.com`, password: 'a long enough password' };
  await send('POST', '/api/v1/auth/sign-up', who);
  await send('POST', '/api/v1/auth/sign-in', who);
  const me = (await send('GET', '/api/v1/me')).body;
  const orgId = String(me['home_org_id']);
  const path = `/api/v1/orgs/${orgId}`;
  const [self] = (await send('GET', `${path}/members`)).body['data'] as { person_id: string }[];
  const token = async (): Promise<Client & { id: string }> => {
    const made = await send('POST', `${path}/tokens`, { name: 'app' });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    return { farebox, orgId, token: String(made.body['secret']), id: String(made.body['id']) };
  };
  const quota = async (credits: string | null) => {
    const set = await send('PATCH', `${path}/members/${self?.person_id}`, { monthly_quota: credits });
    expect(set.status, JSON.stringify(set.body)).toBe(200);
    return set.body;
  };
  await farebox.grant(orgId, 1_000);
  return { orgId, token, quota, revoke: (id: string) => send('DELETE', `${path}/tokens/${id}`) };
}

const ask = (client: Client) => post(client, '/v1/chat/completions', body).end();

describe.each(['in the process', 'in Redis'])('with the hot store %s', (name) => {
  test('the monthly quota of a member holds over two tokens at once, and says whose it is and when it starts anew', async () => {
    const farebox = servers[name] as Farebox;
    const person = await newPerson(farebox);
    const [one, two] = [await person.token(), await person.token()];
    expect((await ask(one)).status).toBe(200);
    await quiet(farebox, person.orgId);
    expect(await person.quota('55')).toMatchObject({ month_spent: { credits: '10' }, monthly_quota_remaining: { credits: '45' } });

    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => ask(i % 2 ? one : two)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      expect(['credits_in_flight', 'member_quota_exceeded']).toContain(errorOf(answer).code);
    }
    await quiet(farebox, person.orgId);

    const refused = await ask(two);
    expect([refused.status, refused.headers.get('x-should-retry')]).toEqual([402, 'false']);
    const { code, message, metadata } = errorOf(refused);
    expect([code, message]).toEqual(['member_quota_exceeded', expect.stringMatching(/owner.*all of their tokens.*5 can be/)]);
    expect(metadata).toMatchObject({ limit_source: 'member', resolve_url: expect.stringContaining('reason=member_quota') });
    expect(Date.parse(String(metadata['resets_at']))).toBeGreaterThan(Date.now());

    // One more of the same member changes nothing, nor does the end of another.
    const three = await person.token();
    expect(errorOf(await ask(three)).code).toBe('member_quota_exceeded');
    expect((await person.revoke(one.id)).status).toBe(200);
    expect(errorOf(await ask(three)).code).toBe('member_quota_exceeded');

    await person.quota('60');
    const last = await ask(three);
    expect([last.status, last.headers.get('x-credits-remaining')]).toEqual([200, '0']);
    await person.quota(null);
    expect((await ask(two)).status).toBe(200);
    await expectCleanBooks(farebox, [person.orgId]);
  });
});
