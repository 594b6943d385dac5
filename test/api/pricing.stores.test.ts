import { describe, expect, test } from 'vitest';
import { exactText } from '../../src/api/priceWords.js';
import { fraction } from '../../src/pricing/fraction.js';
import { pointers, useApi } from './harness.js';

const api = useApi();
const pricing = async (org: string, query = '') =>
  (await api.call('GET', `/api/v1/orgs/${org}/pricing${query}`)).body as Record<string, unknown>;
const demo = (body: Record<string, unknown>) =>
  (
    body['entries'] as {
      name: string;
      prices: { meter: string; price: { credits: string; money: unknown; per: number; unit: string } }[];
    }[]
  ).find(({ name }) => name === 'demo');

describe('GET /api/v1/orgs/{org}/pricing', () => {
  test('200: each price in credits and money, per how many of what, since when', async () => {
    const org = await api.org();
    await api.db.query("insert into price_versions (hash, canonical, activated_at) values ($1, '{}', '2026-11-03T00:00:00Z')", [
      api.deps.prices().version,
    ]);
    const body = await pricing(org);
    expect(body).toMatchObject({ version: api.deps.prices().version, in_force_since: '2026-11-03T00:00:00.000Z' });
    const input = demo(body)?.prices.find(({ meter }) => meter === 'input')?.price;
    const rate = api.deps.prices().find('demo')?.table.rates.get('input')?.value ?? fraction(0n);
    expect(input).toEqual({
      credits: exactText(rate),
      money: { amount: exactText(fraction(rate.n, rate.d * 100n)), currency: 'USD' },
      per: 1_000_000,
      unit: 'input token',
    });
  });

  test('200: the group and the own prices of an organization are in them; searching finds by any part of the name', async () => {
    const org = await api.org();
    const before = Number(demo(await pricing(org))?.prices[0]?.price.credits);
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { group: 'vip', prices: { demo: '0.5' } });
    expect(Number(demo(await pricing(org))?.prices[0]?.price.credits)).toBeCloseTo(before * 0.8 * 0.5, 9);
    expect((await pricing(org, '?q=DEM'))['entries']).toHaveLength(1);
    expect(await pricing(org, '?q=xyz')).toMatchObject({ entries: [], total: 1 });
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/pricing')).status).toBe(404);
  });
});

describe('POST /api/v1/orgs/{org}/pricing/estimate', () => {
  const estimate = async (org: string, body: unknown) => api.call('POST', `/api/v1/orgs/${org}/pricing/estimate`, body);

  test('200: text is counted by the rule that bills, and priced like a request', async () => {
    const org = await api.org();
    const counted = (await estimate(org, { model: 'demo', text: 'hello world', output_tokens: 50 })).body as Record<string, unknown>;
    // 3 for the request, 3 for the message, 1 for its role, 2 for the words.
    expect(counted).toMatchObject({ model: 'demo', input_tokens: 9, output_tokens: 50, price_version: api.deps.prices().version });
    const same = (await estimate(org, { model: 'demo', messages: [{ role: 'user', content: 'hello world' }], output_tokens: 50 })).body;
    const plain = (await estimate(org, { model: 'demo', input_tokens: 9, output_tokens: 50 })).body;
    expect([same, plain]).toEqual([counted, counted]);
    const { cost, per_1000_requests } = counted as unknown as Record<string, { micro: number }>;
    expect(per_1000_requests?.micro).toBe((cost?.micro ?? 0) * 1_000);
    expect(cost?.micro).toBeGreaterThan(0);
  });

  test('400 and 404: a model without a price, two ways to say the input, an organization nobody knows', async () => {
    const org = await api.org();
    expect((await estimate(org, { model: 'nobody-knows', text: 'x' })).body['code']).toBe('model_not_priced');
    expect((await estimate(org, { model: 'demo', text: 'x', input_tokens: 1 })).status).toBe(400);
    expect((await estimate(org, { model: 'demo' })).status).toBe(400);
    expect(pointers(await estimate(org, { model: 'demo', input_tokens: -1, output_tokens: 1.5 }))).toEqual([
      '/input_tokens',
      '/output_tokens',
    ]);
    expect((await estimate('org_07AAAAAAAAAAAAAA', { model: 'demo', text: 'x' })).status).toBe(404);
  });
});
