import { describe, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import { exactText } from '../../src/api/priceWords.js';
import { fraction } from '../../src/pricing/fraction.js';
import { pointers, useApi } from './harness.js';

const credits = (amount: string, per = 1) => ({ by: 'credits', amount, per }) as const;
const flat = { kind: 'rates', tiers: [], stepSeconds: 0 } as const;
const api = useApi({
  meters: [
    {
      ...{ name: 'trace', label: 'Traces', unit: 'trace', amount: '2', per: 1000, stepSeconds: 0, critical: true, free: false },
      ...{ allowance: 100, category: 'Observability' },
    },
  ],
  models: [
    {
      pattern: 'painter',
      rule: {
        ...flat,
        rates: { custom: [{ meter: 'image.high.1536x1024', rate: credits('24') }] },
        provider: 'acme',
        note: 'With a brush.',
      },
    },
    { pattern: 'listener', rule: { ...flat, rates: { second: credits('0.6', 60) }, stepSeconds: 60 } },
    { pattern: 'speaker', rule: { ...flat, rates: { character: credits('1500', 1_000_000) } } },
    { pattern: 'house-*', rule: { kind: 'free' } },
  ],
});
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
    expect(await pricing(org, '?q=xyz')).toMatchObject({ entries: [], total: 6 });
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/pricing')).status).toBe(404);
  });
});

describe('POST /api/v1/orgs/{org}/pricing/estimate', () => {
  const estimate = async (org: string, body: unknown) => api.call('POST', `/api/v1/orgs/${org}/pricing/estimate`, body);

  interface Estimate {
    readonly lines: readonly Record<string, unknown>[];
    readonly cost: { readonly micro: number };
    readonly per_1000_requests: { readonly micro: number };
  }
  const good = async (org: string, body: unknown) => {
    const reply = await estimate(org, body);
    expect(reply.status, reply.text).toBe(200);
    return reply.body as unknown as Estimate;
  };

  test('200: text is counted by the rule that bills, and priced like a request', async () => {
    const org = await api.org();
    const counted = await good(org, { model: 'demo', text: 'hello world', output_tokens: 50 });
    // 3 for the request, 3 for the message, 1 for its role, 2 for the words.
    expect(counted).toMatchObject({
      lines: [{ model: 'demo', input_tokens: 9, output_tokens: 50 }],
      price_version: api.deps.prices().version,
    });
    const same = await good(org, { model: 'demo', messages: [{ role: 'user', content: 'hello world' }], output_tokens: 50 });
    const plain = await good(org, { model: 'demo', input_tokens: 9, output_tokens: 50 });
    expect([same, plain]).toEqual([counted, counted]);
    expect(counted.per_1000_requests.micro).toBe(counted.cost.micro * 1_000);
    expect(counted.cost.micro).toBeGreaterThan(0);
  });

  test('200: images, time and characters as far as the book prices them, and several lines with their sum', async () => {
    const org = await api.org();
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { group: 'vip' });
    const { lines, cost } = await good(org, {
      lines: [
        { model: 'painter', images: { count: 2, quality: 'high', size: '1536x1024' } },
        { model: 'listener', seconds: 61, requests: 10 },
        { model: 'speaker', characters: 1_000 },
        { model: 'demo', input_tokens: 1_000 },
      ],
    });
    const each = lines.map((line) => [(line['each'] as { micro: number }).micro, (line['cost'] as { micro: number }).micro]);
    expect(each.slice(0, 3)).toEqual([
      [38_400_000, 38_400_000],
      [960_000, 9_600_000],
      [1_200_000, 1_200_000],
    ]);
    expect(cost.micro).toBe(each.reduce((sum, [, all]) => sum + (all ?? 0), 0));
  });

  test('200: actions, with what is left of their allowance taken once', async () => {
    const org = await api.org();
    const { lines } = await good(org, { lines: [90, 20].map((quantity) => ({ meter: 'trace', quantity })) });
    expect(lines.map(({ free_quantity, cost }) => [free_quantity, (cost as { micro: number }).micro])).toEqual([
      [90, 0],
      [10, 20_000],
    ]);
    expect((await good(org, { meter: 'trace', quantity: 100 })).cost.micro).toBe(0);
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

  test('400: what has no price is refused rather than shown as free, every wrong line at once', async () => {
    const org = await api.org();
    const wrong = await estimate(org, {
      lines: [
        { model: 'nobody-knows', input_tokens: 1 },
        { model: 'demo', input_tokens: 1 },
        { model: 'demo', seconds: 5 },
        { model: 'painter', images: { count: 1, quality: 'low' } },
        { meter: 'constructor', quantity: 1 },
      ],
    });
    expect([wrong.status, pointers(wrong)]).toEqual([400, ['/lines/0/model', '/lines/2/seconds', '/lines/3/images', '/lines/4/meter']]);
    expect(pointers(await estimate(org, { lines: [{ meter: 'trace' }, { model: 'demo', meter: 'trace', quantity: 1 }] }))).toEqual([
      '/lines/0/quantity',
      '/lines/1/model',
    ]);
    expect((await estimate(org, { model: 'demo', lines: [{ meter: 'trace', quantity: 1 }] })).status).toBe(400);
    expect((await estimate(org, { lines: [] })).status).toBe(400);
  });
});

describe('filters of the price list', () => {
  const names = async (org: string, query: string) =>
    ((await pricing(org, query))['entries'] as { name: string }[]).map(({ name }) => name);

  test('200: by heading, provider, modality, kind and any word', async () => {
    const org = await api.org();
    const all = await pricing(org);
    expect(all['facets']).toEqual({ categories: ['Images', 'LLM inference', 'Observability', 'Speech'], providers: ['acme'] });
    expect(await names(org, '?category=Speech')).toEqual(['listener', 'speaker']);
    expect(await names(org, '?provider=acme')).toEqual(['painter']);
    expect(await names(org, '?modality=audio&q=LIST')).toEqual(['listener']);
    expect(await names(org, '?kind=meter')).toEqual(['trace']);
    expect(await names(org, '?q=brush')).toEqual(['painter']);
    expect((await api.call('GET', `/api/v1/orgs/${org}/pricing?modality=smell`)).status).toBe(400);
  });

  test('200: only what some active token may use', async () => {
    const org = await api.org();
    expect(await names(org, '?usable=true')).toEqual(['trace']);
    const token = await api.token(org, { models: ['pain*', 'speak*'] });
    expect(await names(org, '?usable=true&kind=model')).toEqual(['painter', 'speaker']);
    await api.call('POST', `/api/v1/orgs/${org}/tokens/${token.id}/pause`);
    expect(await names(org, '?usable=true&kind=model')).toEqual([]);
    await api.token(org);
    expect(await names(org, '?usable=true&kind=model')).toHaveLength(5);
  });
});

describe('GET /api/v1/pricing/public', () => {
  const nobody = { authorization: '' };

  test('404: unless the operator shows it', async () => {
    expect((await api.call('GET', '/api/v1/pricing/public', undefined, nobody)).status).toBe(404);
  });

  test('200 and 304: for anybody, kept by whoever passes it on, and never of a single organization', async () => {
    const app = createApi({ ...api.deps, pricing: { public: true } });
    const get = (query = '', headers: Record<string, string> = {}) =>
      app.request(`http://farebox.test/api/v1/pricing/public${query}`, { headers });
    const org = await api.org();
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { prices: { demo: '0.5' } });
    const first = await get();
    expect([first.status, first.headers.get('cache-control')]).toEqual([200, 'public, max-age=60']);
    expect(Number(first.headers.get('ratelimit-limit'))).toBeGreaterThan(0);
    const body = (await first.json()) as Record<string, unknown>;
    expect(JSON.stringify(body)).not.toMatch(/org_|"origin"|"used"|"left"/);
    const full = (await pricing(await api.org()))['entries'] as { name: string; prices: unknown }[];
    const prices = (entries: { name: string; prices: unknown }[]) => entries.map((one) => [one.name, one.prices]);
    expect(prices(body['entries'] as never)).toEqual(prices(full));
    const etag = first.headers.get('etag') ?? '';
    const again = await get('', { 'if-none-match': `"other", W/${etag}` });
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    expect((await get('?q=painter', { 'if-none-match': etag })).status).toBe(200);
    expect((await get('?usable=true')).status).toBe(400);
    expect((await get('', { authorization: 'Bearer nonsense' })).status).toBe(200);
  });
});
