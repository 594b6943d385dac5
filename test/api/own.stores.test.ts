import { beforeAll, describe, expect, test } from 'vitest';
import { managementKey, member, type Somebody } from './cast.js';
import { type Reply, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let org = '';
let developer: Somebody;
let colleague: Somebody;
const tokens = { own: '', second: '', colleagues: '', organizations: '' };
const requests = { own: '', colleagues: '' };

const made = async (who: Somebody | undefined, name: string): Promise<string> => {
  const reply = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name }, { 'idempotency-key': name, ...who?.as });
  expect(reply.status, reply.text).toBe(201);
  return String(reply.body['id']);
};

beforeAll(async () => {
  org = await api.org();
  [developer, colleague] = [await member(api, org, 'developer'), await member(api, org, 'developer')];
  tokens.own = await made(developer, 'own');
  tokens.second = await made(developer, 'second');
  tokens.colleagues = await made(colleague, 'colleague');
  tokens.organizations = await made(undefined, 'organization');
  const at = Date.now();
  const asked = (token: string, input: number) => requestOf({ org, token, atMs: at, input, output: 0 });
  const [own, second, theirs, ours] = [
    asked(tokens.own, 100),
    asked(tokens.second, 200),
    asked(tokens.colleagues, 4_000),
    asked(tokens.organizations, 50_000),
  ];
  await post(api.db, own, second, theirs, ours);
  Object.assign(requests, { own: own.request_id, colleagues: theirs.request_id });
});

const get = (path: string, who: Somebody = developer): Promise<Reply> => api.call('GET', `/api/v1/orgs/${org}${path}`, undefined, who.as);
const rows = (reply: Reply) => reply.body['data'] as unknown as Record<string, unknown>[];
const micro = (value: unknown): number => (value as { micro: number }).micro;
/** 300 units of input at 15 each. */
const OWN = 4_500;

describe('what a developer sees is of their own tokens', () => {
  test('in the list of tokens, and each by itself', async () => {
    expect(rows(await get('/tokens')).map(({ id }) => id)).toEqual([tokens.second, tokens.own]);
    expect((await get(`/tokens/${tokens.own}`)).body).toMatchObject({ owner_id: developer.id, created_by: `person:${developer.id}` });
    expect((await get(`/tokens/${tokens.colleagues}`)).status).toBe(404);
    expect((await get(`/tokens/${tokens.organizations}`)).status).toBe(404);
  });

  // T2
  test('in the logs, their totals and details, whatever filter is asked', async () => {
    const reply = await get('/logs?include=totals');
    expect(new Set(rows(reply).map(({ token_id }) => token_id))).toEqual(new Set([tokens.own, tokens.second]));
    const totals = reply.body['totals'] as unknown as { requests: number; charged: unknown };
    expect([totals.requests, micro(totals.charged)]).toEqual([2, OWN]);
    expect(rows(await get(`/logs?token_id=${tokens.colleagues}`))).toEqual([]);
    expect(rows(await get(`/logs?token_id=${tokens.colleagues},${tokens.own}`))).toHaveLength(1);
    expect([(await get(`/logs/${requests.own}`)).status, (await get(`/logs/${requests.colleagues}`)).status]).toEqual([200, 404]);
  });

  test('page by page, with a cursor that is good for nobody else', async () => {
    const first = await get('/logs?limit=1');
    const next = `/logs?limit=1&cursor=${String(first.body['next_cursor'])}`;
    expect([first.body['has_more'], rows(await get(next)).length]).toEqual([true, 1]);
    expect((await get(next, colleague)).body['code']).toBe('cursor_mismatch');
    const page = await get('/tokens?limit=1');
    expect((await get(`/tokens?limit=1&cursor=${String(page.body['next_cursor'])}`, colleague)).body['code']).toBe('cursor_mismatch');
  });

  test('in an export', async () => {
    const headers = { ...developer.as };
    for (const format of ['csv', 'ndjson']) {
      const response = await api.app.request(`http://farebox.test/api/v1/orgs/${org}/logs/export?format=${format}`, { headers });
      const text = await response.text();
      expect([text.includes(tokens.own), text.includes(tokens.second)], format).toEqual([true, true]);
      expect(text, format).not.toMatch(new RegExp(`${tokens.colleagues}|${tokens.organizations}`));
    }
  });

  test('in usage by time and group, by day, month and year', async () => {
    const today = new Date().toISOString().slice(0, 10);
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
    for (const query of [
      '&group_by=token',
      '&bucket=1h',
      '&group_by=agent',
      `&token_id=${tokens.own},${tokens.second},${tokens.colleagues}`,
    ]) {
      const reply = await get(`/usage?from=${today}&to=${tomorrow}${query}`);
      expect(micro((reply.body['totals'] as unknown as { charged: unknown }).charged), query).toBe(OWN);
      expect(reply.text).not.toContain(tokens.colleagues);
    }
    const day = await get(`/usage/days/${today}`);
    expect(micro((day.body['totals'] as unknown as { cost: unknown }).cost)).toBe(OWN);
    const month = await get('/usage/monthly');
    expect([micro(month.body['used']), month.body['allowed_limit'], micro(month.body['in_flight'])]).toEqual([OWN, null, 0]);
    const year = await get('/usage/history');
    expect(micro((year.body['totals'] as unknown as { charged: unknown }).charged)).toBe(OWN);
  });

  test('in the overview', async () => {
    const { body } = await get('/overview');
    const { month, week, top_models, requests: listed } = body as unknown as Record<string, unknown>;
    expect(micro((month as { used: unknown }).used)).toBe(OWN);
    expect(micro((week as { now: { charged: unknown } }).now.charged)).toBe(OWN);
    expect(micro((top_models as { cost: unknown }[])[0]?.cost)).toBe(OWN);
    expect((listed as { token_id: string }[]).map(({ token_id }) => token_id).sort()).toEqual([tokens.own, tokens.second].sort());
  });

  test('and a role with usage alone sees no requests in the overview', async () => {
    const billing = await member(api, org, 'billing');
    const { body } = await get('/overview', billing);
    expect(body['requests']).toEqual([]);
    expect(micro((body['month'] as unknown as { used: unknown }).used)).toBe(54_300 * 15);
  });

  test('somebody without any token sees nothing at all, rather than everything', async () => {
    const newcomer = await member(api, org, 'developer');
    expect(rows(await get('/logs', newcomer))).toEqual([]);
    expect(micro((await get('/usage/monthly', newcomer)).body['used'])).toBe(0);
    const day = await get(`/usage/days/${new Date().toISOString().slice(0, 10)}`, newcomer);
    expect(day.body['items']).toEqual([]);
  });
});

describe('what a developer changes', () => {
  const post = (path: string, body: unknown = {}) => api.call('POST', `/api/v1/orgs/${org}/tokens${path}`, body, developer.as);

  test('is their own tokens', async () => {
    expect((await post(`/${tokens.own}/quota`, { op: 'set', amount: 5 })).status).toBe(200);
    expect((await post(`/${tokens.colleagues}/pause`)).status).toBe(404);
    const others = await api.call('GET', `/api/v1/orgs/${org}/tokens/${tokens.colleagues}`);
    expect(others.body['status']).toBe('active');
  });

  test('403: a critical token takes the permission for limits', async () => {
    const headers = { ...developer.as, 'idempotency-key': 'critical' };
    const reply = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x', critical: true }, headers);
    expect([reply.status, reply.body['required_permission']]).toEqual([403, 'limits.manage']);
    const patched = await api.call('PATCH', `/api/v1/orgs/${org}/tokens/${tokens.own}`, { critical: true }, developer.as);
    expect(patched.status).toBe(403);
    const owner = await member(api, org, 'owner');
    expect((await api.call('PATCH', `/api/v1/orgs/${org}/tokens/${tokens.own}`, { critical: true }, owner.as)).status).toBe(200);
  });

  test('an Idempotency-Key of somebody else’s gives nobody their token', async () => {
    const send = (who: Somebody) => api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'same' }, { ...who.as, 'idempotency-key': 'k' });
    const [first, second, again] = [await send(developer), await send(colleague), await send(developer)];
    expect(second.body['id']).not.toBe(first.body['id']);
    expect(again.body['secret']).toBe(first.body['secret']);
  });

  test('usage can be told apart by member', async () => {
    const [today, tomorrow] = [0, 86_400_000].map((ms) => new Date(Date.now() + ms).toISOString().slice(0, 10));
    const reply = await api.call('GET', `/api/v1/orgs/${org}/usage?from=${today}&to=${tomorrow}&group_by=member`);
    const buckets = reply.body['data'] as unknown as { results: { group: { member: string | null }; cost: unknown }[] }[];
    const byMember = new Map(buckets.flatMap(({ results }) => results.map(({ group, cost }) => [group.member, micro(cost)])));
    expect(Object.fromEntries(byMember)).toEqual({ [developer.id]: OWN, [colleague.id]: 60_000, null: 750_000 });
  });
});

describe('a token that changes hands', () => {
  test('takes its history along', async () => {
    const [giver, taker] = [await member(api, org, 'developer'), await member(api, org, 'developer')];
    const id = await made(giver, 'changing-hands');
    await post(api.db, requestOf({ org, token: id, atMs: Date.now() }));
    const removed = await api.call('DELETE', `/api/v1/orgs/${org}/members/${giver.id}?tokens=reassign&to=${taker.id}`);
    expect([removed.status, removed.body['tokens']]).toEqual([200, 1]);
    expect(rows(await get('/logs', taker)).map(({ token_id }) => token_id)).toEqual([id]);
    expect((await get('/logs', giver)).status).toBe(404);
  });
});

describe('who is removed, demoted or revoked', () => {
  // T5
  test('is refused by the very next call, and sees more by it after a promotion', async () => {
    const who = await member(api, org, 'admin');
    const tokensOf = async () => {
      const reply = await get('/tokens', who);
      return reply.status === 200 ? rows(reply).length : reply.status;
    };
    expect(await tokensOf()).toBeGreaterThan(3);
    const change = (role_id: string) => api.call('PATCH', `/api/v1/orgs/${org}/members/${who.id}`, { role_id });
    await change('developer');
    expect(await tokensOf()).toBe(0);
    await change('viewer');
    expect(await tokensOf()).toBe(403);
    await api.call('DELETE', `/api/v1/orgs/${org}/members/${who.id}?tokens=keep`);
    expect(await tokensOf()).toBe(404);
  });

  test('a key made by somebody who was removed goes on: it is the organization’s', async () => {
    const who = await member(api, org, 'admin');
    const body = { name: 'sync', scopes: ['balance:read'] };
    const key = await api.call('POST', `/api/v1/orgs/${org}/management-keys`, body, who.as);
    await api.call('DELETE', `/api/v1/orgs/${org}/members/${who.id}?tokens=keep`);
    const headers = { authorization: `Bearer ${String(key.body['secret'])}` };
    expect((await api.call('GET', '/api/v1/balance', undefined, headers)).status).toBe(200);
  });
});

describe('the short form', () => {
  test('400: a person of several organizations names one; a name that is not theirs is not there', async () => {
    const second = await api.org();
    const who = await member(api, org, 'viewer');
    expect((await api.call('GET', '/api/v1/org', undefined, who.as)).body['id']).toBe(org);
    await api.db.query("insert into org_members (org_id, person_id, role_id) values ($1, $2, 'owner')", [second, who.id]);
    const reply = await api.call('GET', '/api/v1/org', undefined, who.as);
    expect([reply.status, reply.body['errors']]).toEqual([400, [expect.objectContaining({ pointer: 'X-Organization' })]]);
    const named = (id: string) => api.call('GET', '/api/v1/org', undefined, { ...who.as, 'x-organization': id });
    expect([(await named(org)).body['id'], (await named(second)).body['id']]).toEqual([org, second]);
    const [foreign, unknown] = [await named(await api.org()), await named('org_07AAAAAAAAAAAAAA')];
    expect([foreign.status, foreign.body['detail']]).toEqual([404, unknown.body['detail']]);
    for (const wrong of ['nonsense', '', org.toLowerCase(), `${org}\u00e4`]) expect((await named(wrong)).status, wrong).toBe(404);
  });

  test('a key means its own organization and cannot name another', async () => {
    const { as } = await managementKey(api, org, 'balance:read');
    const reply = await api.call('GET', '/api/v1/balance', undefined, { ...as, 'x-organization': await api.org() });
    expect(reply.body['org_id']).toBe(org);
  });

  test('the operator key names one', async () => {
    expect((await api.call('GET', '/api/v1/balance')).status).toBe(400);
    expect((await api.call('GET', '/api/v1/balance', undefined, { 'x-organization': org })).body['org_id']).toBe(org);
  });
});

describe('how often', () => {
  test('every answer says what is left, and 429 says how long to wait', async () => {
    const { as } = await managementKey(api, org, 'balance:read');
    const first = await api.call('GET', '/api/v1/balance', undefined, as);
    expect([first.headers.get('ratelimit-limit'), first.headers.get('ratelimit-remaining')]).toEqual(['1200', '1199']);
    let last = first;
    for (let i = 0; i < 2_400 && last.status !== 429; i++) last = await api.call('GET', '/api/v1/limits', undefined, as);
    expect([last.status, last.body['code'], last.headers.get('ratelimit-remaining')]).toEqual([429, 'rate_limited', '0']);
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(
      (await api.call('GET', `/api/v1/orgs/${org}/balance`, undefined, (await managementKey(api, org, 'balance:read')).as)).status,
    ).toBe(200);
  });

  test('guessing is counted by the address it comes from, whatever is guessed', async () => {
    const seen = new Set<number>();
    for (let i = 0; i < 330; i++) {
      const headers = { authorization: `Bearer ok-fb-${i}aaaaaaaaaaaaaaaaaaaaaaaaaaaa`, 'x-forwarded-for': '203.0.113.7' };
      seen.add((await api.call('GET', '/api/v1/admin/orgs', undefined, headers)).status);
    }
    expect(seen).toEqual(new Set([401, 429]));
    const elsewhere = { authorization: 'Bearer ok-fb-zaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'x-forwarded-for': '203.0.113.8' };
    expect((await api.call('GET', '/api/v1/admin/orgs', undefined, elsewhere)).status).toBe(401);
    expect((await api.call('GET', '/api/v1/admin/orgs')).status, 'who has a key is not kept out by them').toBe(200);
  });
});
