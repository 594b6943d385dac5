import { beforeAll, describe, expect, test } from 'vitest';
import { managementKey, member } from './cast.js';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let org = '';
let token = '';

beforeAll(async () => {
  org = await api.org();
  token = (await api.token(org)).id;
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 10, reason: 'x' });
});

interface Heard {
  readonly id: number;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** A connection: `until` waits for an event, however long that takes. */
async function listen(query = '', headers: Record<string, string> = {}) {
  const response = await api.app.request(`http://farebox.test/api/v1/orgs/${org}/events${query}`, {
    headers: { authorization: `Bearer ${OPERATOR_KEY}`, ...headers },
  });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const heard: Heard[] = [];
  let rest = '';
  const until = async (is: (event: Heard) => boolean): Promise<Heard> => {
    for (let seen = 0; ; ) {
      for (; seen < heard.length; seen++) {
        const event = heard[seen];
        if (event && is(event)) return event;
      }
      const chunk = await reader?.read();
      if (!chunk || chunk.done) throw new Error(`the stream ended after ${JSON.stringify(heard)}`);
      const parts = (rest + chunk.value).split('\n\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        const found = /^id: (\d+)\nevent: (\S+)\ndata: (.*)$/.exec(part);
        if (found) heard.push({ id: Number(found[1]), type: found[2] ?? '', data: JSON.parse(found[3] ?? '') as Heard['data'] });
      }
    }
  };
  return { heard, until, end: async () => reader?.cancel() };
}

const micro = (value: unknown): number => (value as { micro: number }).micro;

async function settle(atMs = Date.now()) {
  const event = requestOf({ org, token, atMs });
  await post(api.db, event);
  await api.deps.project.org(org as never);
  api.deps.live.booked([{ orgId: event.org_id, event: JSON.stringify(event) }]);
  return event;
}

describe('GET /api/v1/orgs/{org}/events', () => {
  test('200: first what is so now, then each change, with numbers that only grow', async () => {
    const stream = await listen();
    const first = await stream.until(({ type }) => type === 'balance');
    await stream.until(({ type, data }) => type === 'limit.state' && data['state'] === 'ok');
    await stream.until(({ type, data }) => type === 'token.state' && data['token_id'] === token);
    const event = await settle();
    const settled = await stream.until(({ type }) => type === 'request.settled');
    expect(settled.data).toMatchObject({
      request_id: event.request_id,
      token_id: token,
      status: 'complete',
      charged: { micro: event.cost },
      input: 100,
      output: 10,
    });
    const after = await stream.until(({ type, id }) => type === 'balance' && id > first.id);
    expect(micro(after.data['available'])).toBe(micro(first.data['available']) - event.cost);
    expect(Number(after.data['seq'])).toBeGreaterThan(Number(first.data['seq']));
    const ids = stream.heard.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
    await stream.end();
  });

  test('200: after a cut, what was missed comes once; what is gone is said to be gone', async () => {
    const stream = await listen('?types=request.settled');
    const one = await settle();
    const last = await stream.until(({ data }) => data['request_id'] === one.request_id);
    await stream.end();
    const two = await settle();
    const again = await listen('?types=request.settled', { 'last-event-id': String(last.id) });
    expect((await again.until(({ type }) => type === 'request.settled')).data['request_id']).toBe(two.request_id);
    expect(again.heard).toHaveLength(1);
    await again.end();
    const lost = await listen('?last_event_id=5');
    expect((await lost.until(() => true)).type).toBe('resync');
    await lost.until(({ type }) => type === 'balance');
    await lost.end();
  });

  test('200: a limit that is reached and a token that is paused are told', async () => {
    const stream = await listen('?types=limit.state,token.state');
    await stream.until(({ type }) => type === 'limit.state');
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { limit: 0.000001 });
    await stream.until(({ type, data }) => type === 'limit.state' && data['state'] === 'limited');
    await api.db.query("update tokens set status = 'paused' where token_id = $1", [token]);
    await stream.until(({ type, data }) => type === 'token.state' && data['state'] === 'paused');
    await stream.end();
  });

  test('200: the month is told as its page says it, and again when something was booked', async () => {
    const stream = await listen('?types=usage.tick');
    const first = await stream.until(({ type }) => type === 'usage.tick');
    const event = await settle();
    const next = await stream.until(({ id }) => id > first.id);
    expect(micro(next.data['used'])).toBe(micro(first.data['used']) + event.cost);
    const page = (await api.call('GET', `/api/v1/orgs/${org}/usage/monthly`)).body;
    expect(next.data).toMatchObject({ used: { micro: micro(page['used']) }, projected: page['projected'], month: page['month'] });
    expect(Date.parse(String(next.data['aggregated_at']))).toBeGreaterThan(0);
    await stream.end();
  });

  test('200: a flood is told as a sample and a count', async () => {
    const stream = await listen('?types=balance,request.settled,requests.skipped');
    await stream.until(({ type }) => type === 'balance');
    const event = requestOf({ org, token, atMs: Date.now() });
    api.deps.live.booked(Array.from({ length: 500 }, () => ({ orgId: event.org_id, event: JSON.stringify(event) })));
    const skipped = await stream.until(({ type }) => type === 'requests.skipped');
    const told = stream.heard.filter(({ type }) => type === 'request.settled').length;
    expect(Number(skipped.data['count']) + told).toBe(500);
    expect(told).toBeLessThanOrEqual(40);
    await stream.end();
  });

  test('400, 404 and 503: kinds that are not there, organizations that are not there, more streams than one may have', async () => {
    expect((await api.call('GET', `/api/v1/orgs/${org}/events?types=weather`)).status).toBe(400);
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/events')).status).toBe(404);
    const open = await Promise.all(Array.from({ length: 100 }, () => listen()));
    expect((await api.call('GET', `/api/v1/orgs/${org}/events`)).body['code']).toBe('too_many_streams');
    await Promise.all(open.map((stream) => stream.end()));
    await (await listen()).end();
  });
});

describe('who hears what', () => {
  const settled = (event: Heard) => event.type === 'request.settled';

  test('somebody without the logs hears of money, not of requests', async () => {
    const { as } = await member(api, org, 'billing');
    const stream = await listen('', as);
    await stream.until((event) => event.type === 'balance');
    await stream.until((event) => event.type === 'usage.tick');
    await settle();
    const spent = stream.heard.filter((event) => event.type === 'balance').length;
    await stream.until((event) => event.type === 'balance' && stream.heard.indexOf(event) >= spent);
    expect(stream.heard.filter((event) => settled(event) || event.type === 'token.state')).toEqual([]);
    await stream.end();
  });

  test('a developer hears of requests and tokens of their own alone', async () => {
    const { id, as } = await member(api, org, 'developer');
    const own = await api.token(org);
    await api.db.query('update tokens set owner_id = $2 where token_id = $1', [own.id, id]);
    const stream = await listen('', as);
    await stream.until((event) => event.type === 'token.state');
    await settle();
    // Within a second of a flood only a sample is told, so more than one is settled.
    let isTold = false;
    const told = stream.until(settled).then(() => {
      isTold = true;
    });
    for (let i = 0; i < 20 && !isTold; i++) {
      const mine = requestOf({ org, token: own.id, atMs: Date.now() });
      await post(api.db, mine);
      api.deps.live.booked([{ orgId: mine.org_id, event: JSON.stringify(mine) }]);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await told;
    const about = stream.heard.filter((event) => settled(event) || event.type === 'token.state').map(({ data }) => data['token_id']);
    expect(new Set(about)).toEqual(new Set([own.id]));
    // What the whole organization used is not theirs to know.
    expect(stream.heard.map(({ type }) => type)).not.toContain('usage.tick');
    await stream.end();
  });

  test.each([
    ['removed', 'delete from org_members where person_id = $1'],
    ['demoted', "update org_members set role_id = 'role_00000000000000' where person_id = $1"],
  ])('an open stream ends within a second for somebody who is %s', async (_, change) => {
    await api.db.query(
      "insert into roles (role_id, org_id, name, permissions) values ('role_00000000000000', $1, 'Nothing', '{}') on conflict do nothing",
      [org],
    );
    const { id, as } = await member(api, org, 'viewer');
    const stream = await listen('', as);
    await stream.until((event) => event.type === 'balance');
    const before = Date.now();
    await api.db.query(change, [id]);
    await expect(stream.until(() => false)).rejects.toThrow('the stream ended');
    expect(Date.now() - before).toBeLessThan(1_000);
  });

  test('and for a key that is revoked', async () => {
    const { id, as } = await managementKey(api, org, 'balance:read');
    const stream = await listen('', as);
    await stream.until((event) => event.type === 'balance');
    expect(stream.heard.map(({ type }) => type)).toEqual(['balance']);
    const before = Date.now();
    await api.call('DELETE', `/api/v1/orgs/${org}/management-keys/${id}`);
    await expect(stream.until(() => false)).rejects.toThrow('the stream ended');
    expect(Date.now() - before).toBeLessThan(1_000);
  });
});
