import { afterAll, describe, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import type { ApiDeps } from '../../src/api/deps.js';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId } from '../../src/domain/ids.js';
import { buildBook } from '../../src/pricing/book.js';
import { OPERATOR_KEY, useApi } from './harness.js';

const api = useApi();
const one = { critical: true, free: false, stepSeconds: 0, per: 1 };
const book = buildBook({
  credits: { base: '200', value: null },
  groups: [{ name: 'vip', times: '0.8' }],
  models: [],
  meters: [
    { ...one, name: 'kb_query', label: 'Knowledge base query', unit: 'query', amount: '1' },
    { ...one, name: 'api_request', label: 'API request', unit: 'request', amount: '0.1', critical: false },
    { ...one, name: 'call_center', label: 'Call center', unit: 'minute', amount: '3', per: 60, stepSeconds: 60 },
    { ...one, name: 'speech', label: 'Speech', unit: 'minute', amount: '5', per: 60, stepSeconds: 1 },
    { ...one, name: 'traces', label: 'Traces', unit: 'traces', amount: '2', per: 1000 },
    { ...one, name: 'ping', label: 'Ping', unit: 'request', amount: '1', free: true },
  ],
  unpriced: { kind: 'reject' },
  defaults: false,
  demo: true,
  partBounds: { image: null, audio: null, file: null },
});

afterAll(async () => {
  expect((await api.deps.ledger.reconcile()).findings).toEqual([]);
});

interface Reply {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function send(org: string, events: unknown, more: Partial<ApiDeps> = {}): Promise<Reply> {
  const app = createApi({ ...api.deps, prices: () => book, ...more });
  const response = await app.request(`http://farebox.test/api/v1/orgs/${org}/meter-events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${OPERATOR_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ events }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

let events = 0;
const event = (action: string, quantity = 1, more: object = {}) => ({ event_id: `e-${++events}`, action, quantity, ...more });
const pointers = (reply: Reply) => (reply.body['errors'] as { pointer: string }[]).map(({ pointer }) => pointer);

async function customer(credits: number): Promise<string> {
  const org = await api.org();
  if (credits > 0) await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits, reason: 'test' });
  return org;
}

async function hot(org: string) {
  const state = await api.store.inspect(org as never);
  if (!state || 'kind' in state) throw new Error('the hot store does not know it');
  return state;
}

/** A request that runs and has set aside this much. */
async function running(org: string, micro: number) {
  const { id: tokenId } = await api.token(org);
  const hold = { requestId: newRequestId(), orgId: org as never, tokenId: tokenId as never };
  await api.store.rehold({ ...hold, amount: microCredits(micro), floor: microCredits(0), leaseMs: 20_000, note: '{}' });
}

describe('POST /api/v1/orgs/{org}/meter-events', () => {
  test('200: each event by its own price, in the hot store before the answer, and in the logs', async () => {
    const org = await customer(100);
    const token = await api.token(org, { agent_id: 'bot-1' });
    const sent = [
      event('kb_query', 3, { token_id: token.id, conversation: 'c-1' }),
      event('api_request'),
      event('call_center', 61),
      event('speech', 1),
      event('traces', 1_500, { agent: 'tracer' }),
      event('ping', 7),
    ];
    const { status, body } = await send(org, sent);
    expect(status, JSON.stringify(body)).toBe(200);
    const rows = body['data'] as { duplicate: boolean; charged: { micro: number }; request_id: string }[];
    expect(rows.map((row) => row.charged.micro)).toEqual([3_000_000, 100_000, 6_000_000, 83_334, 3_000_000, 0]);
    expect(body).toMatchObject({ charged: { micro: 12_183_334 }, balance: { micro: 100_000_000 - 12_183_334 } });
    const state = await hot(org);
    expect([state.spendable, state.held, state.pend, state.balance.monthSpent]).toEqual([87_816_666, 0, 0, 12_183_334]);
    const logs = (await api.call('GET', `/api/v1/orgs/${org}/logs`)).body['data'] as unknown as Record<string, unknown>[];
    const first = logs.find((row) => row['request_id'] === rows[0]?.request_id);
    expect(first).toMatchObject({ model: 'kb_query', endpoint: 'meter:kb_query', token_id: token.id, charged: { micro: 3_000_000 } });
    expect((await api.call('GET', `/api/v1/orgs/${org}/tokens/${token.id}`)).body['used']).toMatchObject({ micro: 3_000_000 });
  });

  test('200: an event id counts once, for ever, in one batch or many, one after the other or at once', async () => {
    const org = await customer(100);
    const same = event('kb_query', 2);
    const twice = await send(org, [same, same, event('kb_query')]);
    expect((twice.body['data'] as { duplicate: boolean }[]).map((row) => row.duplicate)).toEqual([false, true, false]);
    expect(twice.body['charged']).toMatchObject({ micro: 3_000_000 });
    const again = await send(org, [{ ...same, quantity: 50 }]);
    expect(again.body).toMatchObject({ charged: { micro: 0 }, data: [{ duplicate: true, charged: { micro: 0 } }] });
    const racing = event('kb_query', 5);
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(org, [racing])));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(answers.filter(({ body }) => (body['charged'] as { micro: number }).micro > 0)).toHaveLength(1);
    expect((await hot(org)).spendable).toBe(92_000_000);
    const elsewhere = await customer(100);
    expect((await send(elsewhere, [same])).body['charged']).toMatchObject({ micro: 2_000_000 });
  });

  test('200: the group of the organization multiplies the price', async () => {
    const org = await customer(10);
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { group: 'vip' });
    expect((await send(org, [event('kb_query')])).body['charged']).toMatchObject({ micro: 800_000 });
  });

  test('402: what is not affordable is refused as a whole, and the same ids are good later', async () => {
    const org = await customer(2);
    const sent = [event('kb_query'), event('kb_query', 2)];
    const refused = await send(org, sent);
    expect([refused.status, refused.body['code']]).toEqual([402, 'insufficient_quota']);
    expect(refused.body).toMatchObject({ required: { credits: '3' }, available: { credits: '2' }, limit_source: 'balance' });
    expect(await hot(org)).toMatchObject({ spendable: 2_000_000, held: 0 });
    await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 1, reason: 'more' });
    expect((await send(org, sent)).status).toBe(200);
    expect(await hot(org)).toMatchObject({ spendable: 0, held: 0 });
    expect((await send(org, [event('ping')])).status).toBe(200);
    expect((await send(org, sent)).body['charged']).toMatchObject({ micro: 0 });
  });

  test('429: credits that running requests hold are not spent twice', async () => {
    const org = await customer(5);
    await running(org, 3_000_000);
    const waiting = await send(org, [event('kb_query', 3)]);
    expect([waiting.status, waiting.body['code']]).toEqual([429, 'credits_in_flight']);
    expect((await send(org, [event('kb_query', 2)])).status).toBe(200);
    expect(await hot(org)).toMatchObject({ spendable: 0, held: 3_000_000 });
  });

  test('many batches at once never take more than there is', async () => {
    const org = await customer(10);
    const answers = await Promise.all(Array.from({ length: 40 }, () => send(org, [event('kb_query')])));
    const good = answers.filter(({ status }) => status === 200).length;
    expect(good).toBeLessThanOrEqual(10);
    expect(new Set(answers.map(({ status }) => status).filter((status) => ![200, 402, 429].includes(status)))).toEqual(new Set());
    expect(await hot(org)).toMatchObject({ spendable: (10 - good) * 1_000_000, held: 0 });
    expect((await hot(org)).spendable).toBeGreaterThanOrEqual(0);
  });

  test('402: at the monthly limit; critical meters go on to the ceiling when only the others pause', async () => {
    const org = await customer(100);
    const limits = (body: object) => api.call('PUT', `/api/v1/orgs/${org}/limits`, body);
    const set = await limits({ allowed_limit: 2 });
    const over = await send(org, [event('kb_query', 3)]);
    expect([over.status, over.body['code'], over.body['resets_at']]).toEqual([402, 'monthly_limit_reached', set.body['resets_at']]);
    expect(over.body['resolve_url']).toBe(`http://farebox.test/o/${org}/quota-exceeded?reason=limit_reached`);
    await limits({ allowed_limit: 2, action: 'pause_noncritical', critical_ceiling: 4 });
    expect((await send(org, [event('kb_query', 2)])).status).toBe(200);
    const paused = await send(org, [event('api_request')]);
    expect([paused.status, paused.body['code']]).toEqual([402, 'paused_non_critical']);
    expect((await send(org, [event('kb_query', 2)])).status).toBe(200);
    expect((await send(org, [event('kb_query')])).body['code']).toBe('monthly_limit_reached');
  });

  test("402: a token's quota, with the window that ran out", async () => {
    const org = await customer(100);
    const token = await api.token(org, { quotas: { daily: 2, total: 50 } });
    const over = await send(org, [event('kb_query', 3, { token_id: token.id })]);
    expect([over.status, over.body['code'], over.body['window']]).toEqual([402, 'token_quota_exceeded', 'daily']);
    expect((await send(org, [event('kb_query', 2, { token_id: token.id })])).status).toBe(200);
    expect((await send(org, [event('kb_query', 1, { token_id: token.id })])).status).toBe(402);
    expect((await send(org, [event('kb_query', 1)])).status).toBe(200);
  });

  test('400: every wrong field at once, an unknown action by its name', async () => {
    const org = await customer(10);
    const foreign = await api.token(await api.org());
    const wrong = await send(org, [
      event('kb_query', 0),
      event('kb_query', 1.5),
      event('kb_query', 1e10),
      { event_id: 'a b', action: 'kb_query', quantity: 1 },
      { ...event('kb_query'), cost: 0 },
    ]);
    expect(wrong.status).toBe(400);
    expect(pointers(wrong)).toEqual([
      '/events/0/quantity',
      '/events/1/quantity',
      '/events/2/quantity',
      '/events/3/event_id',
      '/events/4/cost',
    ]);
    const unknown = await send(org, [
      event('constructor'),
      event('kb_query', 1, { token_id: foreign.id }),
      event('kb_query', 1, { at: '2001-01-01T00:00:00Z' }),
      event('kb_query', 1, { at: '2999-01-01T00:00:00Z' }),
    ]);
    expect([unknown.status, pointers(unknown)]).toEqual([400, ['/events/0/action', '/events/1/token_id', '/events/2/at', '/events/3/at']]);
    expect(JSON.stringify(unknown.body)).toContain('no meter called \\"constructor\\"');
    expect((await send(org, [])).status).toBe(400);
    expect((await send(org, Array(501).fill(event('ping')))).status).toBe(400);
    expect(await hot(org)).toMatchObject({ spendable: 10_000_000 });
  });

  test('200: five hundred at once, some of them yesterday', async () => {
    const org = await customer(1_000);
    const at = new Date(Date.now() - 86_400_000).toISOString();
    const { status, body } = await send(
      org,
      Array.from({ length: 500 }, (_, i) => event('api_request', 1, i % 2 === 0 ? { at } : {})),
    );
    expect(status, JSON.stringify(body).slice(0, 500)).toBe(200);
    expect((await hot(org)).spendable).toBe(950_000_000);
    const days = await api.db.query<{ day: string }>('select distinct day from usage_rollups where org_id = $1', [org]);
    expect(days).toHaveLength(2);
  });

  test('403, 404: nobody there, or nobody who may', async () => {
    expect((await send('org_07AAAAAAAAAAAAAA', [event('ping')])).status).toBe(404);
    const org = await customer(1);
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { status: 'suspended' });
    expect((await send(org, [event('ping')])).body['code']).toBe('organization_suspended');
  });
});
