import { expect, test } from 'vitest';
import { reconcile } from '../../src/ledger/reconcile.js';
import { member } from './cast.js';
import { useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const HOUR_MS = 3_600_000;

const spend = (org: string, token: string) => post(api.db, requestOf({ org, token, atMs: Date.now() }));
const days = async (org: string) =>
  (
    await api.db.query<{ day: string }>(
      'select day::text as day from usage_rollups where org_id = $1 group by day order by min(requests), day',
      [org],
    )
  ).map(({ day }) => day);
const move = (org: string, zone: string, headers?: Record<string, string>) =>
  api.call('PATCH', `/api/v1/orgs/${org}`, { time_zone: zone }, headers);

/** A zone whose calendar shows another date than UTC at this moment. */
const elsewhere = (): string => (new Date().getUTCHours() >= 10 ? 'Pacific/Kiritimati' : 'Pacific/Pago_Pago');
/** An hour away, where it is the same day as in UTC. */
const nearby = (): { zone: string; offsetMs: number } =>
  new Date().getUTCHours() >= 12 ? { zone: 'Etc/GMT+1', offsetMs: -HOUR_MS } : { zone: 'Etc/GMT-1', offsetMs: HOUR_MS };

test('what is booked keeps its day; from the change on days are those of the new zone', async () => {
  const org = await api.org();
  const { id: token } = await api.token(org);
  await spend(org, token);
  const [before = ''] = await days(org);
  const zone = elsewhere();
  expect((await move(org, zone)).status).toBe(200);
  expect(await days(org)).toEqual([before]);
  await spend(org, token);
  const after = await days(org);
  expect(after).toHaveLength(2);
  expect(after).toContain(before);
  const [there = ''] = after.filter((day) => day !== before);
  for (const day of [before, there]) {
    const { body } = await api.call('GET', `/api/v1/orgs/${org}/usage/days/${day}`);
    expect(body, day).toMatchObject({ time_zone: zone, totals: { requests: 1, cost: { micro: 2_100 } } });
  }
  expect((await reconcile({ db: api.db })).findings).toEqual([]);
});

test('the day and month that run keep what they counted and end by the new clock; the answer says so', async () => {
  const org = await api.org();
  const { as } = await member(api, org, 'owner');
  const { id: token } = await api.token(org, { quotas: { daily: 5, monthly: 50 } });
  await spend(org, token);
  const read = async () => (await api.call('GET', `/api/v1/orgs/${org}/tokens/${token}`)).body['quotas'] as never as Quotas;
  const before = await read();
  const { zone, offsetMs } = nearby();
  const moved = await move(org, zone, as);
  const ends = (at: string) => new Date(Date.parse(at) - offsetMs).toISOString();
  expect(moved.body['time_zone_change'], moved.text).toEqual({
    ...{ from: 'UTC', to: zone, booked_days: 'unchanged', running_windows: 'end_by_new_clock' },
    month_ends_at: ends(before.monthly.resets_at),
  });
  const after = await read();
  expect(after.daily).toMatchObject({ used: before.daily.used, resets_at: ends(before.daily.resets_at) });
  expect(after.monthly).toMatchObject({ used: before.monthly.used, resets_at: ends(before.monthly.resets_at) });
  expect(before.daily.used.micro).toBe(2_100);
  const limits = await api.call('GET', `/api/v1/orgs/${org}/balance`);
  expect(limits.status).toBe(200);
  expect((await api.deps.ledger.wallet(org as never))?.monthSpent).toBe(2_100);
});

test('a change of something else says nothing of time zones, and neither does the same zone again', async () => {
  const org = await api.org();
  expect((await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { name: 'Other' })).body['time_zone_change']).toBeNull();
  expect((await move(org, 'UTC')).body['time_zone_change']).toBeNull();
  const fresh = await move(org, 'Asia/Kolkata');
  expect(fresh.body['time_zone_change']).toMatchObject({
    ...{ from: 'UTC', to: 'Asia/Kolkata' },
    month_ends_at: expect.stringMatching(/T18:30:00\.000Z$/),
  });
});

interface Quotas {
  readonly daily: Quota;
  readonly monthly: Quota;
}
interface Quota {
  readonly used: { readonly micro: number };
  readonly resets_at: string;
}
