import { beforeAll, describe, expect, test } from 'vitest';
import { managementKey, member } from './cast.js';
import { OPERATOR_KEY, pointers, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const EVIL = '=HYPERLINK("http://evil.example","click")';
let org = '';
let colleague = '';
let mine = { id: '', as: {} as Record<string, string> };

/** Three days in Kolkata, two of them with use; the token of one's own and one of a colleague. */
beforeAll(async () => {
  org = await api.org();
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: 'Asia/Kolkata' });
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 10, reason: 'x' });
  mine = await member(api, org, 'developer');
  const own = await api.token(org);
  await api.db.query('update tokens set owner_id = $2 where token_id = $1', [own.id, mine.id]);
  colleague = (await api.token(org, { project: '@SUM(A1)' })).id;
  // 20:00 in UTC is the next day in Kolkata.
  const [early, late] = [Date.parse('2026-01-04T20:00:00Z'), Date.parse('2026-01-06T20:00:00Z')];
  await post(
    api.db,
    requestOf({ org, token: own.id, atMs: early, input: 101, rates: { input: '1/3', output: '60' }, over: { model: EVIL } }),
    requestOf({ org, token: own.id, atMs: early + 1, input: 102, rates: { input: '1/3', output: '60' } }),
    requestOf({ org, token: colleague, atMs: late, over: { model: EVIL, agent: 'a', cost: 2_000, operator_loss: 100 } }),
  );
});

const fetched = (query: string, headers: Record<string, string> = {}) =>
  api.app.request(`http://farebox.test/api/v1/orgs/${org}/usage/export?${query}`, {
    headers: { authorization: `Bearer ${OPERATOR_KEY}`, ...headers },
  });

/** Cells as a spreadsheet reads them, by the name of their column. */
async function table(query: string, headers?: Record<string, string>): Promise<Record<string, string>[]> {
  const response = await fetched(query, headers);
  expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
  const lines = (await response.text()).split('\r\n').slice(0, -1);
  const [head = [], ...rows] = lines.map((line) =>
    [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((cell) => cell[1]?.replaceAll('""', '"') ?? cell[2] ?? ''),
  );
  return rows.map((row) => Object.fromEntries(head.map((name, index) => [name, row[index] ?? 'no cell'])));
}

async function lines(query: string): Promise<Record<string, never>[]> {
  const response = await fetched(`${query}&format=ndjson`);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  expect(response.headers.get('content-disposition')).toMatch(/^attachment; filename="usage-\w+-org_\w+-2026-01-05\.ndjson"$/);
  return (await response.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, never>);
}

const RANGE = 'from=2026-01-05&to=2026-01-08';
const page = async (path: string) => (await api.call('GET', `/api/v1/orgs/${org}/usage/${path}`)).body;

describe('GET /api/v1/orgs/{org}/usage/export', () => {
  test('200: days, quiet ones too, oldest first, as the month shows them', async () => {
    const rows = await table(RANGE);
    expect(rows.map((row) => [row['day (Asia/Kolkata)'], row['requests'], row['cost (micro-credits)']])).toEqual([
      ['2026-01-05', '2', '1268'],
      ['2026-01-06', '0', '0'],
      ['2026-01-07', '1', '2000'],
    ]);
    expect(rows[2]).toMatchObject({ 'cost (credits)': '0.002', 'cost (USD)': '0.00002', 'largest item: model': `'${EVIL}` });
    const month = (await page('monthly?month=2026-01'))['days'] as unknown as { date: string }[];
    expect(await lines(RANGE)).toEqual(month.filter(({ date }) => date >= '2026-01-05' && date < '2026-01-08').reverse());
  });

  test('200: the lines of each day, which make its cost; what is below zero stays a number', async () => {
    const rows = await table(`view=items&${RANGE}`);
    const detail = (date: string) => page(`days/${date}`);
    const days = ['2026-01-05', '2026-01-06', '2026-01-07'];
    const shown = await Promise.all(
      days.map(async (date) => ((await detail(date))['items'] as unknown as object[]).map((item) => ({ date, ...item }))),
    );
    expect(await lines(`view=items&${RANGE}`)).toEqual(shown.flat());
    expect(rows).toHaveLength(shown.flat().length);
    expect(rows.map((row) => Number(row['cost (micro-credits)'])).reduce((a, b) => a + b, 0)).toBe(1_268 + 2_000);
    expect(rows.find((row) => row['counted'] === 'operator_loss')).toMatchObject({
      'cost (credits)': '-0.0001',
      'cost (micro-credits)': '-100',
    });
    expect(rows.find((row) => row['unit price (credits)'] === '1/3')).toBeDefined();
    expect(new Set(rows.map((row) => row['operation']))).toEqual(new Set([`'${EVIL}`, 'gpt-4o-mini']));
    expect(await table(`view=items&${RANGE}&agent=a`)).toHaveLength(
      rows.filter((row) => row['day (Asia/Kolkata)'] === '2026-01-07').length,
    );
  });

  test('200: groups, under the names that were asked for, with all others as one', async () => {
    const rows = await table(`view=group&${RANGE}&group_by=project,model&bucket=1M&top=1`);
    expect(rows.map((row) => [row['project'], row['model'], row['all others'], row['cost (micro-credits)']])).toEqual([
      [`'@SUM(A1)`, `'${EVIL}`, 'false', '2000'],
      ['', '', 'true', '1268'],
    ]);
    expect(rows[0]).toMatchObject({ 'from (UTC)': '2025-12-31T18:30:00.000Z', 'to (UTC)': '2026-01-31T18:30:00.000Z' });
    const shown = (await api.call('GET', `/api/v1/orgs/${org}/usage?${RANGE}&group_by=token`)).body['data'] as unknown as {
      date: string;
      results: { cost: unknown }[];
    }[];
    const flat = shown.flatMap(({ date, results }) => results.map(({ cost }) => ({ date, cost })));
    expect((await lines(`view=group&${RANGE}&group_by=token`)).map(({ date, cost }) => ({ date, cost }))).toEqual(flat);
  });

  test('200: whoever may see their own tokens alone gets those, and a key what its scope says', async () => {
    for (const [view, total] of [
      ['daily', 1_268],
      ['items', 1_268],
      ['group', 1_268],
    ] as const) {
      const rows = await table(`view=${view}&${RANGE}`, mine.as);
      expect(
        rows.reduce((sum, row) => sum + Number(row['cost (micro-credits)']), 0),
        view,
      ).toBe(total);
    }
    expect(await table(`view=group&${RANGE}&token_id=${colleague}`, mine.as)).toEqual([]);
    const key = await managementKey(api, org, 'usage:read');
    expect(await table(RANGE, key.as)).toHaveLength(3);
    expect((await fetched(RANGE, (await managementKey(api, org, 'logs:read')).as)).status).toBe(403);
  });

  test('a file breaks off when its reader may no longer see it', async () => {
    const leaving = await member(api, org, 'viewer');
    const response = await fetched('view=items&from=2025-06-01&to=2026-01-08', leaving.as);
    const reader = response.body?.getReader();
    await reader?.read();
    await api.db.query('delete from org_members where person_id = $1', [leaving.id]);
    const rest = async () => {
      for (;;) {
        const next = await reader?.read();
        if (next?.done) return;
        await new Promise((go) => setTimeout(go, 10));
      }
    };
    await expect(rest()).rejects.toThrow('may no longer see it');
  });

  test('400: two ways to say when, half a range, too long a range, filters that a view cannot follow', async () => {
    const wrong = async (query: string) => pointers(await api.call('GET', `/api/v1/orgs/${org}/usage/export?${query}`));
    expect(await wrong(`month=2026-01&${RANGE}`)).toEqual(['?month']);
    expect(await wrong('from=2026-01-01')).toEqual(['?to']);
    expect(await wrong('to=2026-01-01')).toEqual(['?from']);
    expect(await wrong('from=2026-01-01&to=2026-01-01')).toEqual(['?to']);
    expect(await wrong('view=items&from=2024-01-01&to=2026-01-01')).toEqual(['?to']);
    expect(await wrong('view=group&from=2026-01-01&to=2026-03-01&bucket=1h')).toEqual(['?to']);
    expect(await wrong(`${RANGE}&model=x&group_by=model`)).toEqual(['?group_by', '?model']);
    expect(await wrong(`view=items&${RANGE}&agent=a&project=x`)).toEqual(['?project']);
    expect(await wrong(`view=group&${RANGE}&group_by=model,agent,token&format=xlsx`)).toEqual(['?format']);
    expect(await wrong('view=weekly')).toEqual(['?view']);
  });

  test('404: an organization nobody knows', async () => {
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/usage/export')).status).toBe(404);
  });
});
