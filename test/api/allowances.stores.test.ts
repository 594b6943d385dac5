import { afterAll, expect, test } from 'vitest';
import { useApi } from './harness.js';

const sold = { label: 'Traces', unit: 'trace', amount: '2', per: 1000, stepSeconds: 0, critical: true, free: false };
const api = useApi({
  meters: [
    { ...sold, name: 'trace', allowance: 10_000, category: 'Observability' },
    { ...sold, name: 'call', label: 'Call center', unit: 'minute', amount: '3', per: 60, stepSeconds: 60, allowance: 600 },
    { ...sold, name: 'query', label: 'Query' },
  ],
});

afterAll(async () => {
  expect((await api.deps.ledger.reconcile()).findings).toEqual([]);
});

let events = 0;
const send = (org: string, action: string, quantity: number) =>
  api.call(
    'POST',
    `/api/v1/orgs/${org}/meter-events`,
    { events: [{ event_id: `e-${++events}`, action, quantity }] },
    { 'idempotency-key': `k-${events}` },
  );

test('what is left of an allowance is on the price list, on the day and on the overview, and it is one number', async () => {
  const org = await api.org();
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 100, reason: 'test' });
  const first = await send(org, 'trace', 8_120);
  expect(first.body).toMatchObject({ charged: { micro: 0 }, data: [{ free_quantity: 8_120, charged: { micro: 0 } }] });
  const second = await send(org, 'trace', 2_000);
  expect(second.body).toMatchObject({ charged: { micro: 120 * 2_000 }, data: [{ free_quantity: 1_880 }] });
  await send(org, 'call', 61);

  const month = new Date().toISOString().slice(0, 7);
  const trace = { meter: 'trace', label: 'Traces', unit: 'trace', month, allowance: 10_000, used: 10_000, left: 0 };
  const call = { meter: 'call', label: 'Call center', unit: 'second', month, allowance: 600, used: 120, left: 480 };
  expect((await api.call('GET', `/api/v1/orgs/${org}/overview`)).body['allowances']).toMatchObject([trace, call]);
  const today = new Date().toISOString().slice(0, 10);
  const day = (await api.call('GET', `/api/v1/orgs/${org}/usage/days/${today}`)).body as Record<string, unknown>;
  expect(day['allowances']).toMatchObject([trace, call]);
  const items = (day['items'] as { operation: string; quantity: number; unit_price: { credits: string }; cost: { micro: number } }[])
    .filter(({ operation }) => operation === 'trace')
    .map(({ quantity, unit_price, cost }) => [quantity, unit_price.credits, cost.micro]);
  expect(items).toEqual([
    [10_000, '0', 0],
    [120, '2', 240_000],
  ]);
  const named = (day['items'] as Record<string, unknown>[]).map(({ category, label, unit }) => [category, label, unit]);
  expect(named).toEqual([
    ['Metered actions', 'Call center', 'second'],
    ['Observability', 'Traces', 'trace'],
    ['Observability', 'Traces', 'trace'],
  ]);
  expect((day['subtotals'] as { category: string }[]).map(({ category }) => category)).toEqual(['Metered actions', 'Observability']);
  expect(day['totals']).toMatchObject({ cost: { micro: 240_000 } });
  const entries = (await api.call('GET', `/api/v1/orgs/${org}/pricing`)).body['entries'] as unknown as {
    name: string;
    allowance: unknown;
  }[];
  const shown = new Map(entries.map(({ name, allowance }) => [name, allowance]));
  expect(shown.get('trace')).toMatchObject(trace);
  expect([shown.get('query'), shown.get('demo')]).toEqual([null, null]);
  const next = new Date(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5)), 1)).toISOString();
  expect((shown.get('call') as { resets_at: string }).resets_at).toBe(next);
});

test('another month has its own', async () => {
  const org = await api.org();
  await send(org, 'trace', 500);
  const past = (await api.call('GET', `/api/v1/orgs/${org}/usage/days/2026-01-31`)).body;
  expect(past['allowances']).toMatchObject([
    { meter: 'trace', month: '2026-01', used: 0, left: 10_000 },
    { meter: 'call', month: '2026-01' },
  ]);
});
