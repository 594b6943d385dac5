import { beforeAll, describe, expect, test } from 'vitest';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const START = Date.now() - 3_600_000;
const ROWS = 2_350;
let org = '';
let token = '';
let cost = 0;

beforeAll(async () => {
  org = await api.org();
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: 'Asia/Kolkata' });
  token = (await api.token(org, { name: '=HYPERLINK("http://evil.example","click")' })).id;
  const events = Array.from({ length: ROWS }, (_, index) =>
    requestOf({ org, token, atMs: START + index, input: index + 1, over: { model: index % 2 === 0 ? 'even' : 'odd, "quoted"' } }),
  );
  cost = events.reduce((sum, event) => sum + event.cost, 0);
  await post(api.db, ...events);
});

const get = (query: string) =>
  api.app.request(`http://farebox.test/api/v1/orgs/${org}/logs/export${query}`, { headers: { authorization: `Bearer ${OPERATOR_KEY}` } });

/** Cells as a spreadsheet reads them. */
function parsed(text: string): string[][] {
  const rows: string[][] = [];
  for (const line of text.split('\r\n').slice(0, -1))
    rows.push([...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((cell) => cell[1]?.replaceAll('""', '"') ?? cell[2] ?? ''));
  return rows;
}

describe('GET /api/v1/orgs/{org}/logs/export', () => {
  test('200: CSV has every row of the filter once, says its units and time zone, and runs no formula', async () => {
    const response = await get('');
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(response.headers.get('content-disposition')).toMatch(/^attachment; filename="logs-org_\w+-[\d-]+\.csv"$/);
    const [head = [], ...rows] = parsed(await response.text());
    expect(head).toEqual(
      expect.arrayContaining([
        'time (UTC)',
        'time (Asia/Kolkata)',
        'input (tokens)',
        'cost (credits)',
        'cost (micro-credits)',
        'cost (USD)',
        'latency (ms)',
      ]),
    );
    expect(rows).toHaveLength(ROWS);
    expect(new Set(rows.map((row) => row[head.indexOf('request id')])).size).toBe(ROWS);
    expect(rows.reduce((sum, row) => sum + Number(row[head.indexOf('cost (micro-credits)')]), 0)).toBe(cost);
    expect(rows[0]?.[head.indexOf('token')]).toBe(`'=HYPERLINK("http://evil.example","click")`);
    expect(rows[0]?.[head.indexOf('model')]).toBe('odd, "quoted"');
    expect(rows.every((row) => row.length === head.length)).toBe(true);
  });

  test('200: NDJSON has the rows of the list, for the same filter', async () => {
    const response = await get('?format=ndjson&model=even');
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    const rows = (await response.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { model: string; charged: { micro: number } });
    expect(rows).toHaveLength(ROWS / 2);
    const reply = await api.call('GET', `/api/v1/orgs/${org}/logs?include=totals&limit=1&model=even`);
    expect(rows.reduce((sum, row) => sum + row.charged.micro, 0)).toBe(
      (reply.body['totals'] as unknown as { charged: { micro: number } }).charged.micro,
    );
    expect(reply.body['data']).toMatchObject([{ model: rows[0]?.model }]);
  });

  test('200: a reader that goes away stops the reading', async () => {
    const response = await get('');
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    expect((await get('?model=nothing')).status).toBe(200);
  });

  test('400 and 404: a format that is not there, filters that are wrong, an organization nobody knows', async () => {
    expect((await get('?format=xlsx')).status).toBe(400);
    expect((await get('?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z')).status).toBe(400);
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/logs/export')).status).toBe(404);
  });
});
