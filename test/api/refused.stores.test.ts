import { beforeAll, expect, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import type { RefusedRequest } from '../../src/domain/refused.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { postRefused } from '../../src/ledger/refused.js';
import { OPERATOR_KEY, useApi } from './harness.js';

const api = useApi();
const ZONE = 'Asia/Kolkata';
let org = '';
let tokens: string[] = [];

beforeAll(async () => {
  org = await api.org(ZONE);
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: ZONE });
  await api.db.query('update organizations set time_zone_changed_at = null where org_id = $1', [org]);
  tokens = [(await api.token(org)).id, (await api.token(org)).id];
  await postRefused(
    api.db,
    Array.from({ length: 9 }, (_, n) => refused(n)),
    'pv_0123456789abcdef',
  );
});

function refused(n: number): RefusedRequest {
  const said =
    n === 8
      ? { code: 'rate_limit_exceeded', http_status: 429, unlisted: 4_000 }
      : { code: 'insufficient_quota', http_status: 402, unlisted: 0 };
  return {
    ...{ request_id: newRequestId(), org_id: org as RefusedRequest['org_id'], token_id: tokens[n % 2] as RefusedRequest['token_id'] },
    ...{ model: n % 3 === 0 ? '=cmd()' : 'o3', endpoint: '/chat/completions', stream: false, latency_ms: 1, client_request_id: null },
    ...{ end_user: null, agent: n % 2 === 0 ? 'sorter' : null, conversation: null },
    ...said,
  };
}

const get = async (path: string) => (await api.call('GET', `/api/v1/orgs/${org}${path}`)).body as Record<string, unknown>;

test('one number: whoever counts refusals, by logs, month, day, groups or history, counts the same', async () => {
  const totals = (await get('/logs?include=totals'))['totals'];
  expect(totals).toMatchObject({ requests: 9, errors: 9, charged: { micro: 0 } });
  const month = await get('/usage/monthly');
  const days = month['days'] as { requests: number; errors?: number }[];
  expect(days.reduce((sum, { requests }) => sum + requests, 0)).toBe(9);
  expect(month['used']).toMatchObject({ micro: 0 });
  const day = new Intl.DateTimeFormat('sv-SE', { timeZone: ZONE }).format(new Date());
  const next = new Intl.DateTimeFormat('sv-SE', { timeZone: ZONE }).format(new Date(Date.now() + 86_400_000));
  for (const by of ['model', 'agent', 'token']) {
    const groups = await get(`/usage?from=${day}&to=${next}&group_by=${by}`);
    expect(groups['totals'], by).toMatchObject({ requests: 9, errors: 9, charged: { micro: 0 } });
  }
  const year = await get('/usage/history');
  expect((year['months'] as { requests: number }[]).reduce((sum, { requests }) => sum + requests, 0)).toBe(9);
  expect((await reconcile({ db: api.db })).findings).toEqual([]);
});

test('a refusal says what its client was told, and how many more there were', async () => {
  const rows = (await get('/logs?status=rejected'))['data'] as { request_id: string; refusal: unknown; flags: string[] }[];
  expect(rows.map(({ refusal }) => refusal)).toEqual([
    { code: 'rate_limit_exceeded', unlisted: 4_000 },
    ...Array.from({ length: 8 }, () => ({ code: 'insufficient_quota', unlisted: 0 })),
  ]);
  const detail = await get(`/logs/${rows[0]?.request_id}`);
  expect(detail).toMatchObject({
    status: 'rejected',
    http_status: 429,
    charges: { lines: [], charged: { micro: 0 } },
    bucket_debits: [],
    hold: { held: { micro: 0 } },
  });
  expect((await get('/logs?status=rejected&agent=sorter'))['data']).toHaveLength(5);
});

test('an export has them, with names that are formulas made harmless', async () => {
  const csv = await api.app.request(`http://farebox.test/api/v1/orgs/${org}/logs/export?status=rejected`, {
    headers: { authorization: `Bearer ${OPERATOR_KEY}` },
  });
  const [head = '', ...lines] = (await csv.text()).trim().split('\r\n');
  expect(lines).toHaveLength(9);
  expect(lines[0]?.split(',')[head.split(',').indexOf('flags')]).toBe('rate_limit_exceeded unlisted:4000');
  expect(lines.filter((line) => line.includes("'=cmd()"))).toHaveLength(3);
});
