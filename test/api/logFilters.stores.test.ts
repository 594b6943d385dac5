import { beforeAll, describe, expect, test } from 'vitest';
import { person } from './cast.js';
import { pointers, type Reply, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MIDNIGHT = Math.floor(Date.now() / DAY) * DAY;
const START = MIDNIGHT - 5 * DAY;
let org = '';
let tokens: string[] = [];
let ann = '';

const logs = (query = '', of = org) => api.call('GET', `/api/v1/orgs/${of}/logs${query}`);
const models = (reply: Reply): string[] => (reply.body['data'] as unknown as { model: string }[]).map(({ model }) => model);
const iso = (ms: number) => encodeURIComponent(new Date(ms).toISOString());

beforeAll(async () => {
  org = await api.org();
  tokens = [(await api.token(org, { project: 'shop' })).id, (await api.token(org)).id];
  ann = (await person(api)).id;
  await api.db.query('update tokens set owner_id = $2 where token_id = $1', [tokens[1] ?? '', ann]);
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 100, reason: 'x' });
  const at = (index: number, model: string, over = {}) =>
    requestOf({ org, token: tokens[index % 2] ?? '', atMs: START + index * 7 * HOUR, input: 100 + index, over: { model, ...over } });
  await post(
    api.db,
    at(0, 'm0', { agent: 'support', conversation: 'c-1', end_user: 'u-1' }),
    at(1, 'm1', { agent: 'support', stream: true }),
    at(2, 'm2', { upstream: 'other', endpoint: '/embeddings' }),
    at(3, 'm3', { status: 'failed', cost: 0, breakdown: { lines: [], times: '1' } }),
    at(4, 'm4', { status: 'rejected', cost: 0, breakdown: { lines: [], times: '1' }, end_user: 'u-1' }),
    at(5, 'm5', {
      latency_ms: 9_000,
      cost: 900_000,
      breakdown: { lines: [{ meter: 'request', quantity: 1, rate: '900000' }], times: '1' },
    }),
  );
});

describe('GET /api/v1/orgs/{org}/logs', () => {
  test('200: every filter finds exactly its requests', async () => {
    const cases: [string, string[]][] = [
      ['agent=support', ['m1', 'm0']],
      ['agent=support,nobody&stream=true', ['m1']],
      ['conversation=c-1', ['m0']],
      ['end_user=u-1', ['m4', 'm0']],
      ['end_user=u-1&status=rejected', ['m4']],
      ['endpoint=/embeddings', ['m2']],
      ['upstream=other', ['m2']],
      ['status=failed,rejected', ['m4', 'm3']],
      ['status=complete&stream=false', ['m5', 'm2', 'm0']],
      ['min_cost=0.5', ['m5']],
      ['min_cost=0.9', ['m5']],
      ['min_cost=0.900001', []],
      ['min_latency_ms=9000', ['m5']],
      ['min_latency_ms=9001', []],
      ['project=shop,other', ['m4', 'm2', 'm0']],
      [`member=${ann}&status=complete`, ['m5', 'm1']],
      [`member=${ann}&project=shop`, []],
      [`token_id=${tokens[1]}&model=m1,m2,m3`, ['m3', 'm1']],
    ];
    for (const [query, expected] of cases) expect(models(await logs(`?${query}`)), query).toEqual(expected);
  });

  test('200: the beginning of a request id finds it, the whole id too', async () => {
    const id = (await logs('?model=m2')).body['data'] as unknown as { request_id: string }[];
    const whole = id[0]?.request_id ?? '';
    expect(models(await logs(`?request_id=${whole}`))).toEqual(['m2']);
    expect(models(await logs(`?request_id=${whole.slice(0, 14)}`))).toContain('m2');
    expect(models(await logs('?request_id=req_f'))).toEqual([]);
  });

  test('200: totals cover the whole filter whatever the page, and every way to sum agrees', async () => {
    const sums = `select count(*)::int as requests, count(*) filter (where status in ('failed','rejected'))::int as errors,
      sum(input)::bigint as input, sum(cost)::bigint as cost from usage_records where org_id = $1`;
    for (const [query, condition] of [
      ['', 'true'],
      ['model=m1,m2', "model in ('m1','m2')"],
      [`token_id=${tokens[0]}`, `token_id = '${tokens[0]}'`],
      ['status=complete', "status = 'complete'"],
      ['agent=support', "agent = 'support'"],
      ['min_cost=0.5', 'cost >= 500000'],
      ['min_latency_ms=5000', 'latency_ms >= 5000'],
      ['project=shop', `token_id = '${tokens[0]}'`],
      [`member=${ann}&from=${iso(START + 8 * HOUR)}`, `token_id = '${tokens[1]}' and ts >= to_timestamp(${(START + 8 * HOUR) / 1000})`],
      [`from=${iso(START + HOUR)}`, `ts >= to_timestamp(${(START + HOUR) / 1000})`],
      [`to=${iso(START + 30 * HOUR)}&model=m0,m4,m5`, `ts < to_timestamp(${(START + 30 * HOUR) / 1000}) and model in ('m0','m4','m5')`],
      [
        `from=${iso(START + 7 * HOUR)}&to=${iso(START + 35 * HOUR)}`,
        `ts >= to_timestamp(${(START + 7 * HOUR) / 1000}) and ts < to_timestamp(${(START + 35 * HOUR) / 1000})`,
      ],
      [`from=${iso(START + 8 * HOUR)}&to=${iso(START + 9 * HOUR)}`, 'false'],
    ] as const) {
      const row = await api.db.one<{ requests: number; errors: number; input: number | null; cost: number | null }>(
        `${sums} and ${condition}`,
        [org],
      );
      const reply = await logs(`?limit=1&include=totals&${query}`);
      expect(reply.body['totals'], query).toMatchObject({
        requests: row?.requests,
        errors: row?.errors,
        input: row?.input ?? 0,
        charged: { micro: row?.cost ?? 0 },
      });
    }
  });

  test('200: totals stay exact for an organization that moved to another time zone', async () => {
    const moved = await api.org('Moved');
    const token = (await api.token(moved)).id;
    const hours = Array.from({ length: 60 }, (_, hour) => START + hour * HOUR + 1);
    await post(api.db, ...hours.slice(0, 30).map((atMs) => requestOf({ org: moved, token, atMs })));
    await api.call('PATCH', `/api/v1/admin/orgs/${moved}`, { time_zone: 'Pacific/Kiritimati' });
    await post(api.db, ...hours.slice(30).map((atMs) => requestOf({ org: moved, token, atMs })));
    for (let from = 0; from < 60; from += 7)
      for (let to = from + 1; to <= 60; to += 11) {
        const reply = await logs(`?limit=1&include=totals&from=${iso(START + from * HOUR)}&to=${iso(START + to * HOUR)}`, moved);
        expect(reply.body['totals'], `${from} to ${to}`).toMatchObject({ requests: to - from });
      }
  });

  test('400: what no filter means is named, and a cursor keeps to its filters', async () => {
    const wrong = await logs('?min_cost=-1&min_latency_ms=1.5&stream=maybe&request_id=abc&agent=&include=everything');
    expect(pointers(wrong)).toEqual(['?agent.0', '?include.0', '?min_cost', '?min_latency_ms', '?request_id', '?stream']);
    const cursor = (await logs('?limit=1&agent=support')).body['next_cursor'];
    expect(models(await logs(`?limit=1&agent=support&cursor=${cursor}`))).toEqual(['m0']);
    expect((await logs(`?limit=1&agent=support&stream=true&cursor=${cursor}`)).body['code']).toBe('cursor_mismatch');
    expect((await logs(`?limit=1&cursor=${cursor}`)).body['code']).toBe('cursor_mismatch');
  });
});
