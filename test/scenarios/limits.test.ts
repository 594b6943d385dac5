import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Farebox, startFarebox } from '../support/server.js';
import * as up from '../support/upstream.js';
import { type Client, errorOf, expectCleanBooks, fakeCost, post, quiet, scriptOf } from './books.js';

let upstream: up.Upstream;
let farebox: Farebox;
let will: (...answers: up.Answer[]) => void;
const orgs: string[] = [];

beforeAll(async () => {
  upstream = await up.startUpstream();
  farebox = await startFarebox({ upstream: upstream.url });
});
beforeEach(() => {
  will = scriptOf(upstream);
});
afterAll(async () => {
  await expectCleanBooks(farebox, orgs);
  await upstream.stop();
});

const COST = fakeCost(10, 5);

async function customer(): Promise<Client> {
  const { orgId, token } = await farebox.customer(1_000);
  orgs.push(orgId);
  return { farebox, orgId, token };
}

/** Holds less than a credit, and costs COST. */
async function ask(client: Client) {
  will(up.says('Hello', up.usage(10, 5)));
  const body = { model: 'fake-model', max_tokens: 20, messages: [{ role: 'user', content: 'Hi' }] };
  const result = await post(client, '/v1/chat/completions', JSON.stringify(body)).end();
  await quiet(farebox, client.orgId);
  return result;
}

async function limit(client: Client, terms: Record<string, unknown>) {
  const put = await farebox.api('PUT', `/api/v1/orgs/${client.orgId}/limits`, terms);
  expect(put.status, JSON.stringify(put.body)).toBe(200);
  return put.body;
}

/** What is left before the limit is too little for the next request, but something has been used. */
const barely = String(COST / 1_000_000);

test('at the monthly limit the gateway says so, when it ends and where to raise it; raised, the very next request is served', async () => {
  const me = await customer();
  expect((await ask(me)).status).toBe(200);
  const set = await limit(me, { alert_threshold: 0, allowed_limit: barely });
  expect(set).toMatchObject({ state: 'limited', used: { micro: COST }, warning: expect.stringContaining('refused from now on') });
  const refused = await ask(me);
  expect([refused.status, refused.headers.get('x-should-retry')]).toEqual([402, 'false']);
  const { code, metadata } = errorOf(refused);
  expect(code).toBe('monthly_limit_reached');
  expect(metadata).toMatchObject({
    limit_source: 'limit',
    resets_at: set['resets_at'],
    resolve_url: expect.stringMatching(new RegExp(`/o/${me.orgId}/quota-exceeded\\?.*reason=limit_reached`)),
  });
  await limit(me, { allowed_limit: 100 });
  expect((await ask(me)).status).toBe(200);
});

test('a limit nobody has spent under yet already knows when its month ends', async () => {
  const me = await customer();
  const set = await limit(me, { allowed_limit: 0 });
  expect(errorOf(await ask(me))).toMatchObject({ code: 'monthly_limit_reached', metadata: { resets_at: set['resets_at'] } });
});

test('paused for what is not critical: a critical token goes on, up to its ceiling', async () => {
  const me = await customer();
  const made = await farebox.createToken(me.orgId, { critical: true });
  const critical = { ...me, token: made.secret };
  expect((await ask(me)).status).toBe(200);
  await limit(me, { allowed_limit: barely, action: 'pause_noncritical', critical_ceiling: '0.1' });
  const refused = await ask(me);
  expect([refused.status, errorOf(refused).code]).toEqual([402, 'paused_non_critical']);
  const statuses: number[] = [];
  const most = Math.ceil(100_000 / COST);
  let last = await ask(critical);
  for (; last.status === 200 && statuses.length <= most; last = await ask(critical)) statuses.push(last.status);
  expect(statuses.length).toBeGreaterThan(0);
  expect([last.status, errorOf(last).code]).toEqual([402, 'monthly_limit_reached']);
  const { body } = await farebox.api('GET', `/api/v1/orgs/${me.orgId}/limits`);
  const used = (body['used'] as { micro: number }).micro;
  expect(used).toBe(COST * (statuses.length + 1));
  expect(used).toBeLessThanOrEqual(100_000);
});
