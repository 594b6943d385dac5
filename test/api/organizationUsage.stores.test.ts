import OpenAI, { APIError } from 'openai';
import { beforeAll, describe, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import { ORGANIZATION_PATHS } from '../../src/api/compat/organization.js';
import { managementKey, person } from './cast.js';
import { OPERATOR_KEY, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
const ZONE = 'America/Los_Angeles';
/** Clocks there go forward on 8 March 2026, a day of 23 hours. */
const [SATURDAY, SUNDAY, MONDAY, TUESDAY] = ['07T08', '08T08', '09T07', '10T07'].map((at) => Date.parse(`2026-03-${at}:00:00Z`) / 1000) as [
  number,
  number,
  number,
  number,
];
const NOW = (TUESDAY + 3_660) * 1_000;

let org = '';
let shop = { id: '', secret: '' };
let other = { id: '', secret: '' };
let ann = '';
let secret = '';

beforeAll(async () => {
  org = await api.org();
  await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { time_zone: ZONE });
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 100, reason: 'x' });
  [shop, other] = [await api.token(org, { project: 'shop' }), await api.token(org)];
  ann = (await person(api)).id;
  await api.db.query('update tokens set owner_id = $2 where token_id = $1', [shop.id, ann]);
  ({ secret } = await managementKey(api, org, 'usage:read'));
  const at = (token: { id: string }, second: number, more: object) =>
    requestOf({ org, token: token.id, atMs: second * 1_000, input: 1_000, output: 100, ...more });
  await post(
    api.db,
    at(shop, SUNDAY - 1, { over: { model: 'gpt-4o' } }),
    at(shop, SUNDAY, {}),
    at(shop, SUNDAY + 5_430, { over: { model: 'gpt-4o' } }),
    at(other, MONDAY - 1, {}),
    at(other, MONDAY, { output: 0, over: { model: 'embed', endpoint: '/embeddings' } }),
    at(other, MONDAY + 1, { over: { model: 'kb_query', endpoint: 'meter' } }),
  );
});

/** The real client, talking to a server whose clock stands on Tuesday. */
function client(key: string, options: { organization?: string; scope?: 'token' | 'org' } = {}) {
  const app = createApi({ ...api.deps, clock: { nowMs: () => NOW }, compat: { creditsScope: options.scope ?? 'token' } });
  const { usage } = new OpenAI({
    adminAPIKey: key,
    baseURL: 'http://farebox.test/v1',
    organization: options.organization ?? null,
    maxRetries: 0,
    fetch: async (url, init) => app.request(String(url), init as RequestInit),
  }).admin.organization;
  return usage;
}

const failure = async (asked: Promise<unknown>): Promise<unknown> => {
  const error = await asked.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(APIError);
  return [(error as APIError).status, (error as APIError).code];
};

describe('/v1/organization/usage, as the OpenAI client asks and reads it', () => {
  test('completions by day: whole days of the organization, empty ones too', async () => {
    const page = await client(secret).completions({ start_time: SATURDAY + 60, end_time: TUESDAY });
    const sums = (requests: number) => ({
      object: 'organization.usage.completions.result',
      ...{ input_tokens: 1_000 * requests, output_tokens: 100 * requests, input_cached_tokens: 0, num_model_requests: requests },
      ...{ project_id: null, user_id: null, api_key_id: null, model: null, batch: null, service_tier: null },
    });
    expect(page).toEqual({
      object: 'page',
      data: [
        { object: 'bucket', start_time: SATURDAY, end_time: SUNDAY, results: [sums(1)] },
        { object: 'bucket', start_time: SUNDAY, end_time: MONDAY, results: [sums(3)] },
        { object: 'bucket', start_time: MONDAY, end_time: TUESDAY, results: [] },
      ],
      has_more: false,
      next_page: null,
    });
    expect(MONDAY - SUNDAY).toBe(23 * 3_600);
  });

  test('any combination of groups, each named where it was asked for', async () => {
    const page = await client(secret).completions({
      start_time: SUNDAY,
      end_time: MONDAY,
      group_by: ['project_id', 'user_id', 'api_key_id', 'model', 'batch'],
    });
    const of = (who: object, model: string) =>
      expect.objectContaining({ num_model_requests: 1, model, batch: false, service_tier: null, ...who });
    const mine = { project_id: 'shop', user_id: ann, api_key_id: shop.id };
    expect(page.data).toHaveLength(1);
    expect(page.data[0]?.results).toHaveLength(3);
    expect(page.data[0]?.results).toEqual(
      expect.arrayContaining([
        of(mine, 'gpt-4o'),
        of(mine, 'gpt-4o-mini'),
        of({ project_id: null, user_id: null, api_key_id: other.id }, 'gpt-4o-mini'),
      ]),
    );
  });

  test('hours and minutes', async () => {
    const hours = await client(secret).completions({ start_time: SUNDAY, end_time: SUNDAY + 3 * 3_600, bucket_width: '1h' });
    expect(hours.data.map(({ start_time, results }) => [start_time - SUNDAY, results.length])).toEqual([
      [0, 1],
      [3_600, 1],
      [7_200, 0],
    ]);
    const minutes = await client(secret).completions({ start_time: SUNDAY + 5_400, bucket_width: '1m', limit: 2 });
    expect(minutes).toMatchObject({
      has_more: true,
      data: [
        { start_time: SUNDAY + 5_400, end_time: SUNDAY + 5_460, results: [{ num_model_requests: 1 }] },
        { start_time: SUNDAY + 5_460, results: [] },
      ],
    });
  });

  test('page by page it is the same as at once, and a page of another question is refused', async () => {
    const asked = { start_time: SATURDAY - 86_400, end_time: TUESDAY, group_by: ['model' as const] };
    const whole = await client(secret).completions(asked);
    const parts: unknown[] = [];
    let page: string | null = '';
    for (let i = 0; i < 10 && page !== null; i++) {
      const part: Awaited<ReturnType<ReturnType<typeof client>['completions']>> = await client(secret).completions({
        ...asked,
        limit: 1,
        page,
      });
      expect(part.has_more).toBe(part.next_page !== null);
      expect(part.data).toHaveLength(1);
      parts.push(...part.data);
      page = part.next_page;
    }
    expect(parts).toEqual(whole.data);
    expect(parts).toHaveLength(4);
    const { next_page } = await client(secret).completions({ ...asked, limit: 1 });
    expect(await failure(client(secret).completions({ ...asked, limit: 2, page: next_page ?? '' }))).toEqual([400, 'invalid_page']);
  });

  test('without a start it is one page up to the bucket that runs', async () => {
    for (const more of [{}, { limit: 1 }, { limit: 3 }, { bucket_width: '1h' as const }]) {
      const { data, has_more } = await client(secret).completions({ ...more } as { start_time: number });
      expect([has_more, data.length]).toEqual([false, 'limit' in more ? more.limit : 'bucket_width' in more ? 24 : 7]);
      expect(data.at(-1)?.end_time).toBeGreaterThanOrEqual(NOW / 1_000);
    }
  });

  test('filters narrow; what cannot be followed is refused', async () => {
    const count = async (more: object): Promise<number> => {
      const { data } = await client(secret).completions({ start_time: SATURDAY, ...more });
      return data
        .flatMap(({ results }) => results)
        .reduce((sum, one) => sum + ('num_model_requests' in one ? one.num_model_requests : 0), 0);
    };
    expect(await count({})).toBe(4);
    expect(await count({ project_ids: ['shop'] })).toBe(3);
    expect(await count({ user_ids: [ann, 'usr_nobody'], models: ['gpt-4o'] })).toBe(2);
    expect(await count({ api_key_ids: [other.id] })).toBe(1);
    expect(await count({ batch: true })).toBe(0);
    expect(await count({ batch: false })).toBe(4);
    expect(await failure(client(secret).images({ start_time: SATURDAY, sizes: ['256x256'] }))).toEqual([400, 'invalid_filter']);
  });

  test('every other kind has its own shape; of what is not sold here there is nothing', async () => {
    const ask = client(secret);
    const range = { start_time: MONDAY, end_time: TUESDAY };
    const fields = { project_id: null, user_id: null, api_key_id: null, model: null };
    expect((await ask.embeddings(range)).data[0]?.results).toEqual([
      { object: 'organization.usage.embeddings.result', input_tokens: 1_000, num_model_requests: 1, ...fields },
    ]);
    await post(
      api.db,
      requestOf({
        org,
        token: shop.id,
        atMs: MONDAY * 1_000 + 7,
        over: { endpoint: '/images/generations', usage: { ...requestOf({ org, token: shop.id, atMs: 0 }).usage, images: 3 } },
      }),
    );
    expect((await ask.images(range)).data[0]?.results).toEqual([
      { object: 'organization.usage.images.result', images: 3, num_model_requests: 1, ...fields, size: null, source: null },
    ]);
    const empty = {
      object: 'page',
      data: [{ object: 'bucket', start_time: MONDAY, end_time: TUESDAY, results: [] }],
      has_more: false,
      next_page: null,
    };
    for (const kind of [
      'audioSpeeches',
      'audioTranscriptions',
      'moderations',
      'vectorStores',
      'codeInterpreterSessions',
      'fileSearchCalls',
      'webSearchCalls',
    ] as const)
      expect(await ask[kind](range), kind).toEqual(empty);
  });

  test('costs: all that was charged, in money, by project, model or token', async () => {
    const costs = async (more: object) =>
      (await client(secret).costs({ start_time: SATURDAY, ...more })).data.flatMap(({ results }) => results);
    const one = await costs({});
    const total = await api.db.one<{ cost: number }>('select sum(cost)::bigint as cost from usage_rollups where org_id = $1', [org]);
    const sum = (results: readonly object[]) =>
      results.reduce((all, result) => all + (result as { amount: { value: number } }).amount.value, 0);
    expect(sum(one)).toBeCloseTo(((total?.cost ?? 0) / 1_000_000) * 0.01, 12);
    expect(one[0]).toEqual({
      object: 'organization.costs.result',
      amount: { value: 0.00021, currency: 'usd' },
      ...{ line_item: null, project_id: null, api_key_id: null, quantity: null },
    });
    const parts = await costs({ group_by: ['project_id', 'line_item', 'api_key_id'] });
    expect(sum(parts)).toBeCloseTo(sum(one), 12);
    expect(parts).toContainEqual(expect.objectContaining({ line_item: 'kb_query', project_id: null, api_key_id: other.id }));
    expect(await failure(client(secret).costs({ start_time: SATURDAY, limit: 181 }))).toEqual([400, 'invalid_limit']);
    expect(await failure(client(secret).costs({ start_time: SATURDAY, bucket_width: '1h' as '1d' }))).toEqual([
      400,
      'invalid_bucket_width',
    ]);
  });
});

describe('who may ask', () => {
  const requests = async (usage: ReturnType<typeof client>): Promise<number[]> => {
    const { data } = await usage.completions({ start_time: SATURDAY, end_time: TUESDAY });
    return data.flatMap(({ results }) => results.map((one) => ('num_model_requests' in one ? one.num_model_requests : 0)));
  };

  test('a token sees itself, and its organization only where the operator says so', async () => {
    expect(await requests(client(other.secret))).toEqual([1]);
    expect(await requests(client(other.secret, { scope: 'org' }))).toEqual([1, 3]);
    expect(await requests(client(other.secret, { organization: await api.org() }))).toEqual([1]);
  });

  test('a management key sees its organization, whatever the request names, if it has the scope', async () => {
    expect(await requests(client(secret, { organization: await api.org() }))).toEqual([1, 3]);
    const { secret: blind, id } = await managementKey(api, org, 'logs:read');
    expect(await failure(requests(client(blind)))).toEqual([403, 'missing_scope']);
    await api.db.query('update management_keys set revoked_at = now() where key_id = $1', [id]);
    expect(await failure(requests(client(blind)))).toEqual([401, 'key_revoked']);
    const { secret: old, id: gone } = await managementKey(api, org, 'usage:read');
    await api.db.query("update management_keys set expires_at = '2026-03-01' where key_id = $1", [gone]);
    expect(await failure(requests(client(old)))).toEqual([401, 'key_expired']);
  });

  test('the operator names an organization', async () => {
    expect(await requests(client(OPERATOR_KEY, { organization: org }))).toEqual([1, 3]);
    expect(await failure(requests(client(OPERATOR_KEY)))).toEqual([400, 'organization_needed']);
    for (const organization of ['org_07AAAAAAAAAAAAAA', 'nonsense'])
      expect(await failure(requests(client(OPERATOR_KEY, { organization })))).toEqual([404, 'organization_not_found']);
  });

  test('nobody else, on no such path', async () => {
    const wrong = [{}, { authorization: 'Bearer mk-fb-nonsense' }, { authorization: `Bearer ${OPERATOR_KEY}x` }, (await person(api)).as];
    for (const path of ORGANIZATION_PATHS)
      for (const headers of wrong) {
        const response = await api.app.request(`http://farebox.test${path}`, { headers: headers as Record<string, string> });
        expect([response.status, ((await response.json()) as { error: { code: string } }).error.code], path).toEqual([
          401,
          'invalid_api_key',
        ]);
      }
  });
});

describe('compat.credits_scope: org', () => {
  const ask = async (path: string): Promise<Record<string, unknown>> => {
    const app = createApi({ ...api.deps, clock: { nowMs: () => NOW }, compat: { creditsScope: 'org' } });
    const response = await app.request(`http://farebox.test${path}`, { headers: { authorization: `Bearer ${other.secret}` } });
    expect(response.status).toBe(200);
    return (await response.json()) as Record<string, unknown>;
  };

  test('credits and billing are the organization’s: the difference is what it has, the hard limit what the month allows', async () => {
    const row = await api.db.one<{ used: number }>('select sum(cost)::bigint as used from usage_rollups where org_id = $1', [org]);
    const used = ((row?.used ?? 0) / 1_000_000) * 0.01;
    const { data } = (await ask('/v1/credits')) as { data: { total_credits: number; total_usage: number } };
    expect(data.total_usage).toBeCloseTo(used, 12);
    expect(data.total_credits).toBeCloseTo(1, 12);
    expect(await ask('/v1/dashboard/billing/credit_grants')).toMatchObject({
      total_granted: data.total_credits,
      total_used: data.total_usage,
    });
    expect(await ask('/v1/dashboard/billing/usage?start_date=2026-03-01&end_date=2026-03-31')).toMatchObject({
      total_usage: Number((data.total_usage * 100).toFixed(8)),
    });
    expect((await api.call('PUT', `/api/v1/orgs/${org}/limits`, { allowed_limit: 10 })).status).toBe(200);
    const { hard_limit_usd } = (await ask('/v1/dashboard/billing/subscription')) as { hard_limit_usd: number };
    expect(hard_limit_usd).toBeCloseTo(used + 0.1, 12);
    expect((await ask('/v1/key'))['data']).toMatchObject({ limit: null });
  });
});
