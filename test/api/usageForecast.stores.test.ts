import { beforeAll, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import { member } from './cast.js';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
/** A Wednesday, noon in New York; the month there ends on Saturday. */
const NOW = Date.UTC(2026, 0, 28, 17);
const ZONE = 'America/New_York';
const DAY = 86_400_000;

let org = '';
let token = { id: '' };
let mine = { id: '', as: {} as Record<string, string> };

beforeAll(async () => {
  org = await api.org();
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: ZONE });
  token = await api.token(org);
  mine = await member(api, org, 'developer');
  await api.db.query('update tokens set owner_id = $2 where token_id = $1', [token.id, mine.id]);
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 1_000, reason: 'x' });
});

/** Everything as it would be answered at that moment. */
async function at(nowMs: number, path: string, headers: Record<string, string> = {}): Promise<Record<string, unknown>> {
  const app = createApi({ ...api.deps, clock: { nowMs: () => nowMs } });
  const response = await app.request(`http://farebox.test/api/v1/orgs/${org}${path}`, {
    headers: { authorization: `Bearer ${OPERATOR_KEY}`, ...headers },
  });
  const body = (await response.json()) as Record<string, unknown>;
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body;
}

/** One request of so many credits at noon in New York, `back` days ago. */
const spend = (back: number, credits: number) =>
  post(
    api.db,
    requestOf({ org, token: token.id, atMs: NOW - back * DAY, input: credits, output: 0, rates: { input: '1000000', output: '0' } }),
  );

const credits = (value: unknown): string | undefined => (value as { credits?: string } | null)?.credits;

test('before three whole days are over it says that there is not enough data yet', async () => {
  expect(await at(NOW, '/usage/forecast')).toMatchObject({ projected: null, reason: 'not_enough_data', days: { length: 28 } });
  expect(await at(NOW, '/balance')).toMatchObject({ burn_rate: null, runs_out: null });
  await spend(3, 10);
  await spend(2, 20);
  const early = await at(NOW - DAY, '/usage/forecast');
  expect(early).toMatchObject({
    reason: 'not_enough_data',
    message: expect.stringContaining('Not enough data yet'),
    basis: { from: '2026-01-25', full_days: 2, full_days_needed: 3 },
    days: { length: 27 },
  });
  expect((await at(NOW - DAY, '/usage/monthly'))['projected']).toBe(null);
});

test('the month, its forecast and the overview say the same, which is what the formula makes of the days', async () => {
  await spend(1, 30);
  await spend(0, 6);
  // Thursday to Saturday were never seen, so each counts as the mean of Sunday, Monday and Tuesday: 20.
  const forecast = await at(NOW, '/usage/forecast');
  expect(forecast).toMatchObject({ month: '2026-01', time_zone: ZONE, reason: null, alert: null, limit: null });
  expect(credits(forecast['used'])).toBe('66');
  expect(credits(forecast['projected'])).toBe(String(66 + 6 + 3 * 20));
  expect(forecast['basis']).toMatchObject({ from: '2026-01-25', full_days: 3, per_day: { credits: '20' } });
  const monthly = await at(NOW, '/usage/monthly');
  expect(monthly['projected']).toEqual(forecast['projected']);
  expect((await at(NOW, '/overview'))['month']).toEqual(monthly);
  const days = forecast['days'] as { date: string; projected: boolean; cost: unknown; total: unknown; low: unknown; high: unknown }[];
  expect(days.map(({ date }) => date)).toEqual(Array.from({ length: 31 }, (_, i) => `2026-01-${String(i + 1).padStart(2, '0')}`));
  expect(days.slice(-5).map(({ projected, cost, total }) => [projected, credits(cost), credits(total)])).toEqual([
    [false, '30', '60'],
    [true, '6', '72'],
    [true, undefined, '92'],
    [true, undefined, '112'],
    [true, undefined, '132'],
  ]);
  const last = days.at(-1);
  expect([last?.low, last?.total, last?.high]).toEqual([forecast['low'], forecast['projected'], forecast['high']]);
  // The three days differ by 10 around their mean; half a day and three are to come.
  expect(Number(credits(forecast['high']))).toBeCloseTo(132 + 1.2816 * 10 * Math.sqrt(3.5), 5);
});

test('it says on which day the alert and the limit are expected, and does not repeat what is reached already', async () => {
  // As if they had been set back then: a month is shown with the limits of its own time.
  const limits = async (alert: number, limit: number) => {
    const reply = await api.call('PUT', `/api/v1/orgs/${org}/limits`, { alert_threshold: alert, allowed_limit: limit });
    expect(reply.status, reply.text).toBe(200);
    await api.db.query("update limit_versions set from_at = '2026-01-02' where org_id = $1 and to_at is null", [org]);
  };
  await limits(92, 112);
  // The alert is about being above its threshold, the limit about being at it.
  expect(await at(NOW, '/usage/forecast')).toMatchObject({
    alert: { amount: { credits: '92' }, reached: false, expected_on: '2026-01-30' },
    limit: { amount: { credits: '112' }, reached: false, expected_on: '2026-01-30', earliest: '2026-01-30', latest: null },
  });
  await limits(20, 1_000);
  expect(await at(NOW, '/usage/forecast')).toMatchObject({
    alert: { reached: true, expected_on: null, earliest: null, latest: null },
    limit: { reached: false, expected_on: null, earliest: null, latest: null },
  });
});

test('whoever may see their own tokens alone gets the forecast of those, beside no limit of the organization', async () => {
  const other = await api.token(org);
  await post(api.db, requestOf({ org, token: other.id, atMs: NOW - 20 * DAY, over: { cost: 5_000_000 } }));
  const [own, all] = [await at(NOW, '/usage/forecast', mine.as), await at(NOW, '/usage/forecast')];
  expect([credits(own['used']), credits(all['used'])]).toEqual(['66', '71']);
  expect(own).toMatchObject({ alert: null, limit: null, basis: { full_days: 3 } });
  expect(all).toMatchObject({ basis: { full_days: 20 } });
});

test('the balance says how fast it goes and when it is gone, and the overview says the same', async () => {
  const balance = await at(NOW, '/balance');
  // Seven whole days: four quiet ones, 10, 20 and 30. Of the last 24 hours half are today's, so half of yesterday counts.
  expect(balance).toMatchObject({ burn_rate: { per_day_7d: { micro: Math.ceil(60_000_000 / 7) }, per_day_24h: { credits: '21' } } });
  const { at: end, earliest, latest } = balance['runs_out'] as Record<string, string>;
  const left = (balance['available'] as { micro: number }).micro;
  expect((Date.parse(end ?? '') - NOW) / DAY).toBeCloseTo(left / Math.ceil(60_000_000 / 7), 4);
  expect([earliest, end, latest]).toEqual([earliest, end, latest].sort());
  const overview = await at(NOW, '/overview');
  expect(overview['balance']).toEqual(balance);
  expect(overview['burn_rate']).toEqual({
    per_day: (balance['burn_rate'] as Record<string, unknown>)['per_day_7d'],
    runs_out_days: Math.floor(left / Math.ceil(60_000_000 / 7)),
  });
});
