import { beforeAll, expect, test } from 'vitest';
import { letGoMonths } from '../../src/ledger/retention.js';
import { member } from './cast.js';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let org = '';
let token = '';
let mine = { id: '', as: {} as Record<string, string> };

/** January and February with use, of which January is gone; the last day of January in Los Angeles ends in February. */
beforeAll(async () => {
  await api.db.query("select ensure_usage_partitions('2026-01-15', 1)");
  org = await api.org();
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: 'America/Los_Angeles' });
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 5, reason: 'x' });
  token = (await api.token(org)).id;
  const other = (await api.token(org)).id;
  mine = await member(api, org, 'developer');
  await api.db.query('update tokens set owner_id = $2 where token_id = $1', [token, mine.id]);
  const at = (time: string, more: object = {}) => requestOf({ org, token, atMs: Date.parse(time), ...more });
  await post(
    api.db,
    at('2026-01-10T12:00:00Z', { over: { agent: 'a' } }),
    at('2026-01-31T22:00:00Z'),
    at('2026-01-31T23:00:00Z', { token: other }),
  );
  await post(
    api.db,
    at('2026-02-01T01:00:00Z', { input: 7, rates: { input: '1/3', output: '60' } }),
    at('2026-02-10T12:00:00Z', { over: { agent: 'a' } }),
  );
  before = await figures();
  expect(await letGoMonths(api.db, { nowMs: Date.UTC(2026, 2, 20), retentionDays: 31 })).toEqual({ gone: ['2026-01'], kept: [] });
});

let before: Awaited<ReturnType<typeof figures>>;

const get = async (path: string, headers: Record<string, string> = {}) => {
  const reply = await api.call('GET', `/api/v1/orgs/${org}/${path}`, undefined, headers);
  expect(reply.status, reply.text).toBe(200);
  return reply.body as Record<string, unknown>;
};

/** What every page says who has no need of single requests. */
async function figures(): Promise<unknown[]> {
  const range = 'from=2026-01-01&to=2026-03-01';
  const days = ['2026-01-10', '2026-01-31', '2026-02-10'];
  const csv = await api.app.request(`http://farebox.test/api/v1/orgs/${org}/usage/export?${range}`, {
    headers: { authorization: `Bearer ${OPERATOR_KEY}` },
  });
  const logs = await get('logs?limit=1&include=totals&from=2026-01-01T08:00:00Z&to=2026-03-01T08:00:00Z');
  return [
    (await get('usage/monthly?month=2026-01'))['days'],
    (await get('usage/monthly?month=2026-02'))['totals'],
    (await get('usage/history?year=2026'))['months'],
    (await get(`usage?${range}&group_by=model,member`))['data'],
    ...(await Promise.all(days.map(async (day) => (await get(`usage/days/${day}`))['totals']))),
    ...(await Promise.all(days.map(async (day) => (await get(`usage/days/${day}`, mine.as))['subtotals']))),
    logs['totals'],
    await csv.text(),
  ];
}

test('months, years, groups, the sums of days, totals and exports stay what they were', async () => {
  expect(await figures()).toEqual(before);
});

test('a day that is gone has one line per operation with what it cost; one that is half gone has both', async () => {
  const items = async (path: string, as?: Record<string, string>) =>
    ((await get(`usage/days/${path}`, as))['items'] as { meter: string; requests: number; cost: { micro: number } }[]).map(
      ({ meter, requests, cost }) => [meter, requests, cost.micro],
    );
  const one = before.length > 0 ? 100 * 15 + 10 * 60 : 0;
  expect(await items('2026-01-10')).toEqual([['not_kept', 1, one]]);
  expect(await items('2026-01-31')).toEqual([
    ['not_kept', 2, 2 * one],
    ['output', 1, 600],
    ['input', 1, 2],
    ['rounding', 1, 1],
  ]);
  expect(await items('2026-01-31', mine.as)).toMatchObject([['not_kept', 1, one], {}, {}, {}]);
  expect(await items('2026-01-10?agent=a'), 'nobody knows any more whose it was').toEqual([]);
  expect((await get('usage/days/2026-01-10'))['items']).toMatchObject([{ price_version: null, unit_price: null }]);
});

test('whatever needs single requests says from when on it has them', async () => {
  const first = '2026-02-01T00:00:00.000Z';
  const logs = await get('logs');
  expect(logs).toMatchObject({ kept_from: first, data: { length: 2 } });
  const range = 'from=2026-01-01&to=2026-03-01';
  expect(await get(`usage?${range}&group_by=agent`)).toMatchObject({ kept_from: first, totals: { requests: 2 } });
  const byModel = await get(`usage?${range}&group_by=model`);
  expect([byModel['kept_from'], byModel['totals']]).toMatchObject([undefined, { requests: 5 }]);
});
