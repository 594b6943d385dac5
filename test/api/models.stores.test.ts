import { beforeAll, expect, test } from 'vitest';
import type { Rates } from '../../src/domain/prices.js';
import { buildBook } from '../../src/pricing/book.js';
import { managementKey, member } from './cast.js';
import { useApi } from './harness.js';

const api = useApi();
let org = '';

interface Model {
  readonly name: string;
  readonly type: string;
  readonly prices: unknown;
}

const priced = (pattern: string, rates: Rates) => ({ pattern, rule: { kind: 'rates', rates, tiers: [], stepSeconds: 0 } }) as const;
const credits = (amount: string, per = 1_000_000) => ({ by: 'credits', amount, per }) as const;

beforeAll(async () => {
  const book = buildBook({
    credits: { base: '200', value: { amount: '0.01', currency: 'USD' } },
    groups: [{ name: 'vip', times: '0.5' }],
    models: [
      priced('dear', { input: credits('300'), output: credits('900') }),
      priced('cheap', { input: credits('1/3'), output: credits('0.5') }),
      priced('flat', { request: credits('10', 1) }),
      priced('vectors', { input: credits('2') }),
      priced('nobody-serves-it', { input: credits('1'), output: credits('1') }),
      priced('dated-*', { input: credits('7'), output: credits('7') }),
    ],
    meters: [],
    unpriced: { kind: 'reject' },
    defaults: false,
    demo: false,
    partBounds: { image: null, audio: null, file: null },
  });
  const models = [
    ...['dear', 'cheap', 'flat', 'vec*', 'dated-2026', 'no-price'].map((pattern) => ({ pattern, as: null })),
    { pattern: 'alias', as: 'cheap' },
  ];
  Object.assign(api.deps, { prices: () => book, server: { ...api.deps.server, upstreams: () => [{ name: 'one', models }] } });
  org = await api.org();
});

const list = async (query = ''): Promise<Model[]> => {
  const page = await api.call('GET', `/api/v1/orgs/${org}/models${query}`);
  expect(page.status, page.text).toBe(200);
  return page.body['data'] as unknown as Model[];
};
const names = async (query: string): Promise<string[]> => (await list(query)).map(({ name }) => name);

test('lists what is served and priced, and nothing else, by the name that clients ask for', async () => {
  expect(await names('')).toEqual(['alias', 'cheap', 'dated-2026', 'dear', 'flat', 'vectors']);
  expect(await names('?type=embedding')).toEqual(['vectors']);
  expect(await names('?q=EA')).toEqual(['cheap', 'dear']);
});

test('the cheapest chat model is one call away, page by page in order of price', async () => {
  expect(await names('?sort=price&type=chat&limit=1')).toEqual(['alias']);
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const page = await api.call('GET', `/api/v1/orgs/${org}/models?sort=price&type=chat&limit=2${cursor}`);
    seen.push(...(page.body['data'] as unknown as Model[]).map(({ name }) => name));
    if (!page.body['has_more']) break;
    cursor = `&cursor=${page.body['next_cursor']}`;
  }
  expect(seen).toEqual(['alias', 'cheap', 'dated-2026', 'dear', 'flat']);
});

test('the prices are those of the price list, group and own prices included', async () => {
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { group: 'vip', prices: { dear: '0.0001' } });
  const entries = (await api.call('GET', `/api/v1/orgs/${org}/pricing`)).body['entries'] as unknown as Model[];
  const models = await list();
  for (const name of ['cheap', 'dear', 'flat', 'vectors'])
    expect(models.find((one) => one.name === name)?.prices, name).toEqual(entries.find((one) => one.name === name)?.prices);
  expect(models.find(({ name }) => name === 'alias')?.prices).toEqual(models.find(({ name }) => name === 'cheap')?.prices);
  expect((await names('?sort=price&type=chat'))[0]).toBe('dear');
});

test('whoever may see usage may ask, a key as well; others may not', async () => {
  const ask = async (as: Record<string, string>) => (await api.call('GET', `/api/v1/orgs/${org}/models`, undefined, as)).status;
  expect(await ask((await managementKey(api, org, 'usage:read')).as)).toBe(200);
  expect(await ask((await member(api, org, 'developer')).as)).toBe(200);
  expect(await ask((await member(api, org, ['credits.read'])).as)).toBe(403);
});
