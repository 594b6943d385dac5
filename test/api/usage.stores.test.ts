import { beforeAll, describe, expect, test } from 'vitest';
import type { ChargeEvent } from '../../src/domain/charge.js';
import { person } from './cast.js';
import { OPERATOR_KEY, pointers, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const HOUR = 3_600_000;

interface Amount {
  readonly micro: number;
}

const micro = (value: unknown): number => (value as Amount).micro;
const get = async (path: string) => {
  const reply = await api.call('GET', path);
  expect(reply.status, `${path} ${reply.text}`).toBe(200);
  return reply.body as Record<string, unknown>;
};

/** Everything that says what a month cost, each from its own page. */
async function everyFigure(org: string, month: string, zone: string) {
  const monthly = await get(`/api/v1/orgs/${org}/usage/monthly?month=${month}`);
  const days = monthly['days'] as { date: string; requests: number; cost: Amount }[];
  let items = 0;
  let detail = 0;
  for (const day of days) {
    const one = await get(`/api/v1/orgs/${org}/usage/days/${day.date}`);
    const sum = (one['items'] as { cost: Amount }[]).reduce((total, item) => total + item.cost.micro, 0);
    expect(sum, `${zone} ${day.date}: the items of a day make the day`).toBe(day.cost.micro);
    expect((one['subtotals'] as { cost: Amount }[]).reduce((total, part) => total + part.cost.micro, 0)).toBe(day.cost.micro);
    items += sum;
    detail += micro((one['totals'] as { cost: Amount }).cost);
  }
  const { from, to } = monthly['range'] as { from: string; to: string };
  const range = `from=${from}&to=${to}`;
  const logs = await get(`/api/v1/orgs/${org}/logs?limit=1&include=totals&${range}`);
  const exported = async (path: string): Promise<number> => {
    const csv = await api.app.request(`http://farebox.test/api/v1/orgs/${org}/${path}`, {
      headers: { authorization: `Bearer ${OPERATOR_KEY}` },
    });
    const [head = '', ...lines] = (await csv.text()).trim().split('\r\n');
    const column = head.split(',').indexOf('cost (micro-credits)');
    return lines.reduce((sum, line) => sum + Number(line.split(',')[column]), 0);
  };
  const first = `${month}-01`;
  const next = new Date(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5)), 1)).toISOString().slice(0, 10);
  const page = await get(`/api/v1/orgs/${org}/usage?from=${first}&to=${next}&group_by=model,token&top=1`);
  const buckets = page['data'] as { results: { cost: Amount }[] }[];
  const byAgent = await get(`/api/v1/orgs/${org}/usage?from=${first}&to=${next}&group_by=agent&bucket=1M`);
  const history = await get(`/api/v1/orgs/${org}/usage/history?year=${month.slice(0, 4)}`);
  const ledger = await api.db.one<{ cost: number }>(
    `select sum(e.amount)::bigint as cost from ledger_entries e join ledger_accounts a on a.id = e.account_id join ledger_txs t on t.id = e.tx_id
     where a.kind = 'usage' and t.org_id = $1 and exists (select 1 from usage_records r where r.tx_id = t.id and r.day >= $2::text::date and r.day < $3::text::date)`,
    [org, first, next],
  );
  return {
    monthly: micro(monthly['used']),
    days: days.reduce((sum, day) => sum + day.cost.micro, 0),
    items,
    detail,
    logs: micro((logs['totals'] as { charged: Amount }).charged),
    csv: await exported(`logs/export?${range}`),
    csvOfDays: await exported(`usage/export?month=${month}`),
    csvOfLines: await exported(`usage/export?view=items&from=${first}&to=${next}`),
    csvOfGroups: await exported(`usage/export?view=group&month=${month}&group_by=model,member&bucket=1w`),
    csvOfFewGroups: await exported(`usage/export?view=group&month=${month}&group_by=provider&top=1`),
    buckets: buckets.flatMap((bucket) => bucket.results).reduce((sum, result) => sum + result.cost.micro, 0),
    bucketTotals: micro((page['totals'] as { charged: Amount }).charged),
    agents: micro((byAgent['totals'] as { charged: Amount }).charged),
    history: micro((history['months'] as { month: string; cost: Amount }[]).find((one) => one.month === month)?.cost),
    ledger: ledger?.cost,
  };
}

describe('one number: the month, its days, their lines, the logs, their export, the buckets, the year and the ledger agree', () => {
  // March and November have a day of 23 and of 25 hours in Los Angeles.
  for (const [zone, month] of [
    ['UTC', '2026-03'],
    ['America/Los_Angeles', '2026-03'],
    ['America/Los_Angeles', '2025-11'],
    ['Asia/Kolkata', '2026-03'],
  ] as const) {
    test(`${zone}, ${month}`, async () => {
      const org = await api.org(zone);
      await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: zone });
      await api.db.query('update organizations set time_zone_changed_at = null where org_id = $1', [org]);
      const tokens = [(await api.token(org)).id, (await api.token(org)).id];
      await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 5, reason: 'x' });
      const start = Date.parse(`${month}-01T00:00:00Z`) - 30 * HOUR;
      // One batch per hour, so that every ledger transaction belongs to one day: both borders of the month are crossed.
      for (let hour = 0; hour < 34 * 24; hour += 5) await post(api.db, ...eventsAt(org, tokens, start + hour * HOUR, hour));
      const figures = await everyFigure(org, month, zone);
      expect(figures.ledger).toBeGreaterThan(0);
      expect(figures).toEqual(Object.fromEntries(Object.keys(figures).map((name) => [name, figures.ledger])));
    });
  }
});

function eventsAt(org: string, tokens: readonly string[], atMs: number, hour: number): ChargeEvent[] {
  const model = ['gpt-4o-mini', 'o3', 'kb'][hour % 3] ?? 'o3';
  const one = { org, token: tokens[hour % 2] ?? '', atMs, input: 100 + hour, rates: { input: '1/3', output: '60' } };
  return [
    requestOf({ ...one, over: { model, agent: hour % 2 === 0 ? 'support' : null } }),
    requestOf({ ...one, atMs: atMs + 1, output: 0, over: { model, endpoint: '/embeddings' } }),
  ];
}

describe('GET /api/v1/orgs/{org}/usage', () => {
  let org = '';
  let token = '';
  const today = new Date().toISOString().slice(0, 10);
  const midnight = Date.parse(today);
  const tomorrow = new Date(midnight + 24 * HOUR).toISOString().slice(0, 10);
  const early = (minutes: number) => Math.min(midnight + minutes * 1_000, Date.now());

  beforeAll(async () => {
    org = await api.org();
    token = (await api.token(org, { project: 'shop' })).id;
    await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 5, reason: 'x' });
    await post(
      api.db,
      ...['a', 'a', 'b', 'c', 'c', 'c'].map((model, index) =>
        requestOf({ org, token, atMs: early(index), over: { model, end_user: index < 2 ? 'u' : null } }),
      ),
      requestOf({ org, token, atMs: early(9), over: { model: 'd', status: 'failed', cost: 0, breakdown: { lines: [], times: '1' } } }),
    );
  });

  test('200: the largest groups by name, all others as one, and the total of everything', async () => {
    const page = await get(`/api/v1/orgs/${org}/usage?from=${today}&to=${tomorrow}&group_by=model&top=2&measure=requests`);
    const [bucket] = page['data'] as {
      date: string;
      start_time: number;
      end_time: number;
      results: { group: { model: string | null }; other: boolean; requests: number }[];
    }[];
    expect(bucket).toMatchObject({ date: today, start_time: midnight / 1000, end_time: midnight / 1000 + 86_400 });
    expect(bucket?.results.map(({ group, other, requests }) => [group.model, other, requests])).toEqual([
      ['c', false, 3],
      ['a', false, 2],
      [null, true, 2],
    ]);
    expect(page['totals']).toMatchObject({ requests: 7, errors: 1 });
  });

  test('200: hours, projects, actions and end users', async () => {
    const hours = await get(`/api/v1/orgs/${org}/usage?from=${today}&to=${tomorrow}&bucket=1h`);
    expect((hours['data'] as { start_time: number }[]).map((one) => one.start_time)).toEqual([midnight / 1000]);
    const users = await get(`/api/v1/orgs/${org}/usage?from=${today}&to=${tomorrow}&group_by=end_user,project`);
    const groups = (users['data'] as { results: { group: unknown; requests: number }[] }[])[0]?.results.map(({ group, requests }) => [
      group,
      requests,
    ]);
    expect(groups).toEqual(
      expect.arrayContaining([
        [{ end_user: 'u', project: 'shop' }, 2],
        [{ end_user: null, project: 'shop' }, 5],
      ]),
    );
    const actions = await get(`/api/v1/orgs/${org}/usage?from=${today}&to=${tomorrow}&group_by=action&end_user=u`);
    expect(actions['totals']).toMatchObject({ requests: 2 });
  });

  test('200: members are who owns the token now, providers are upstreams, under the names that were asked for', async () => {
    const mine = await api.org();
    const [first, second] = [await api.token(mine), await api.token(mine)];
    const own = (token: { id: string }, who: string | null) =>
      api.db.query('update tokens set owner_id = $2 where token_id = $1', [token.id, who]);
    const [ann, bob] = [(await person(api)).id, (await person(api)).id];
    await own(first, ann);
    await post(
      api.db,
      ...[first, first, second].map((token, index) =>
        requestOf({ org: mine, token: token.id, atMs: early(index), over: { upstream: `u${index}` } }),
      ),
    );
    const groups = async (query: string) => {
      const page = await get(`/api/v1/orgs/${mine}/usage?from=${today}&to=${tomorrow}&measure=requests&${query}`);
      const [bucket] = page['data'] as { results: { group: Record<string, string>; requests: number }[] }[];
      return bucket?.results.map(({ group, requests }) => [group, requests]) ?? [];
    };
    expect(await groups('group_by=member')).toEqual([
      [{ member: ann }, 2],
      [{ member: null }, 1],
    ]);
    expect(await groups('group_by=provider,action&upstream=u1')).toEqual([[{ provider: 'u1', action: '/chat/completions' }, 1]]);
    expect(await groups(`member=${ann},${bob}`)).toEqual([[{}, 2]]);
    await own(first, bob);
    expect(await groups(`group_by=member&member=${ann},${bob}`)).toEqual([[{ member: bob }, 2]]);
    expect(await groups(`member=${ann}`)).toEqual([]);
  });

  test('400: ranges that are empty or too long, three groups, dimensions that are not there', async () => {
    const wrong = (query: string) => api.call('GET', `/api/v1/orgs/${org}/usage?${query}`);
    expect(pointers(await wrong('from=2026-01-02&to=2026-01-02'))).toEqual(['?to']);
    expect(pointers(await wrong('from=2026-01-01&to=2026-02-01&bucket=1h'))).toEqual(['?to']);
    expect(pointers(await wrong('from=2026-01-01&to=2026-12-01&group_by=agent'))).toEqual(['?to']);
    expect(pointers(await wrong('from=2026-01-01&to=2026-01-03&group_by=model,token,agent'))).toEqual(['?group_by']);
    expect(pointers(await wrong('from=yesterday&group_by=colour&top=51'))).toEqual(['?from', '?group_by.0', '?to', '?top']);
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/usage?from=2026-01-01&to=2026-01-02')).status).toBe(404);
  });

  test('200: the overview says the same as the pages behind it', async () => {
    const overview = await get(`/api/v1/orgs/${org}/overview`);
    const monthly = await get(`/api/v1/orgs/${org}/usage/monthly`);
    expect({ ...(overview['month'] as object), aggregated_at: '' }).toEqual({ ...monthly, aggregated_at: '' });
    expect(overview['today']).toMatchObject({ now: { requests: 7, charged: monthly['used'] } });
    expect((overview['requests'] as unknown[]).length).toBe(7);
    expect(overview['top_models']).toMatchObject([{ model: 'c', requests: 3 }, { model: 'a' }, { model: 'b' }, { model: 'd' }]);
    for (const path of ['overview', 'usage/monthly', 'usage/history', `usage/days/${today}`])
      expect((await api.call('GET', `/api/v1/orgs/org_07AAAAAAAAAAAAAA/${path}`)).status, path).toBe(404);
  });

  test('200 and 400: months and years that have not begun are empty; nonsense is named', async () => {
    expect(await get(`/api/v1/orgs/${org}/usage/monthly?month=2099-01`)).toMatchObject({
      days: [],
      used: { micro: 0 },
      state: 'ok',
      projected: null,
    });
    expect(await get(`/api/v1/orgs/${org}/usage/history?year=2098`)).toMatchObject({ months: [], totals: { requests: 0 } });
    expect(pointers(await api.call('GET', `/api/v1/orgs/${org}/usage/monthly?month=2026-13`))).toEqual(['?month']);
    expect(pointers(await api.call('GET', `/api/v1/orgs/${org}/usage/history?year=last`))).toEqual(['?year']);
    expect((await api.call('GET', `/api/v1/orgs/${org}/usage/days/2026-02-30`)).status).toBe(404);
  });
});
