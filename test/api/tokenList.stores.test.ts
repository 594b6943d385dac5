import { beforeAll, describe, expect, test } from 'vitest';
import { readLiveState } from '../../src/usage/liveState.js';
import { member, type Somebody } from './cast.js';
import { pointers, useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let org = '';
let owner: Somebody;
const ids: Record<string, string> = {};

interface Listed {
  readonly id: string;
  readonly status: string;
  readonly expires: string;
  readonly spend_30d: { total: { micro: number }; days: number[] };
}

const list = async (query = '', as: Record<string, string> = {}): Promise<Listed[]> => {
  const page = await api.call('GET', `/api/v1/orgs/${org}/tokens${query}`, undefined, as);
  expect(page.status, page.text).toBe(200);
  return page.body['data'] as unknown as Listed[];
};
const named = async (query: string): Promise<string[]> =>
  (await list(query)).map(({ id }) => Object.keys(ids).find((name) => ids[name] === id) ?? id).sort();
const inDays = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString();
const spend = (token: string, micro: number, atMs = Date.now()) =>
  requestOf({ org, token, atMs, input: 0, output: 1, rates: { input: '0', output: String(micro) } });

beforeAll(async () => {
  org = await api.org();
  owner = await member(api, org, 'owner');
  const make = async (name: string, more: Record<string, unknown> = {}, as: Record<string, string> = {}) => {
    const headers = { 'idempotency-key': name.replaceAll(/\W/g, '-'), ...as };
    const made = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name, ...more }, headers);
    expect(made.status, made.text).toBe(201);
    ids[name] = String(made.body['id']);
  };
  await make('Shop 100%_front', { project: 'shop', critical: true });
  await make('later', { expires_at: inDays(30), project: 'shop' });
  await make('soon', { expires_at: inDays(3) }, owner.as);
  await make('over', { expires_at: inDays(1) });
  await make('paused');
  await make('revoked');
  await make('used', { quota: '2' });
  await make('today', { quotas: { daily: '2' } });
  await api.call('POST', `/api/v1/orgs/${org}/tokens/${ids['paused']}/pause`, {});
  await api.call('DELETE', `/api/v1/orgs/${org}/tokens/${ids['revoked']}`);
  await api.db.query("update tokens set expires_at = now() - interval '1 second' where token_id = $1", [ids['over'] ?? '']);
  await post(
    api.db,
    ...[spend(ids['used'] ?? '', 2_000_000), spend(ids['today'] ?? '', 2_000_000), spend(ids['later'] ?? '', 345_678)],
    spend(ids['later'] ?? '', 1_000_000, Date.now() - 3 * 86_400_000),
    spend(ids['later'] ?? '', 77_000_000, Date.now() - 40 * 86_400_000),
  );
});

describe('GET /api/v1/orgs/{org}/tokens', () => {
  test('finds by status, words, project, owner and whether it goes on where others stop', async () => {
    expect(await named('?status=quota_used')).toEqual(['today', 'used']);
    expect(await named('?status=expired')).toEqual(['over']);
    expect(await named('?status=paused')).toEqual(['paused']);
    expect(await named('?status=active')).toEqual(['Shop 100%_front', 'later', 'soon']);
    for (const q of ['shop', '100%25', '%25_f', ids['Shop 100%_front']]) expect(await named(`?q=${q}`), q).toEqual(['Shop 100%_front']);
    expect(await named('?project=shop')).toEqual(['Shop 100%_front', 'later']);
    expect(await named('?project=shop&critical=false')).toEqual(['later']);
    expect(await named(`?owner=${owner.id}`)).toEqual(['soon']);
    expect(await named('?owner=none&status=active')).toEqual(['Shop 100%_front', 'later']);
    const wrong = await api.call('GET', `/api/v1/orgs/${org}/tokens?status=gone&owner=me&critical=yes&limit=0`);
    expect(pointers(wrong)).toEqual(['?critical', '?limit', '?owner', '?status']);
  });

  test('a cursor belongs to its filters', async () => {
    const page = await api.call('GET', `/api/v1/orgs/${org}/tokens?limit=1&project=shop`);
    const next = `/api/v1/orgs/${org}/tokens?limit=1&cursor=${page.body['next_cursor']}`;
    expect(((await api.call('GET', `${next}&project=shop`)).body['data'] as unknown as Listed[]).map(({ id }) => id)).toEqual([
      ids['Shop 100%_front'],
    ]);
    expect((await api.call('GET', next)).body['code']).toBe('cursor_mismatch');
  });

  test('says of each token the word that live events and the overview use', async () => {
    const state = await readLiveState(api.db, org as never, Date.now());
    const listed = await list();
    expect(Object.fromEntries(listed.map(({ id, status }) => [id, status]))).toEqual(state?.tokens);
    const attention = (await api.call('GET', `/api/v1/orgs/${org}/overview`)).body['attention'] as unknown as {
      token_id: string;
      reason: string;
    }[];
    const said = Object.fromEntries(attention.map((one) => [one.token_id, one.reason]));
    for (const { id, status } of listed) if (status === 'expired' || status === 'quota_used') expect(said[id], id).toBe(status);
    expect(said[ids['soon'] ?? '']).toBe('expires_soon');
    const ends = Object.fromEntries(listed.map(({ id, expires }) => [id, expires]));
    expect(['later', 'soon', 'over', 'used'].map((name) => ends[ids[name] ?? ''])).toEqual(['later', 'soon', 'over', 'never']);
  });

  test('what a token was charged in 30 days is what the usage page says', async () => {
    const [row] = await list(`?q=${ids['later']}`);
    expect([row?.spend_30d.total.micro, row?.spend_30d.days.length, row?.spend_30d.days.at(-1), row?.spend_30d.days.at(-4)]).toEqual([
      1_345_678, 30, 345_678, 1_000_000,
    ]);
    const day = (shift: number) => inDays(shift).slice(0, 10);
    const usage = await api.call('GET', `/api/v1/orgs/${org}/usage?from=${day(-29)}&to=${day(1)}&token_id=${ids['later']}`);
    expect((usage.body['totals'] as unknown as { charged: { micro: number } }).charged.micro).toBe(1_345_678);
    expect((await api.call('GET', `/api/v1/orgs/${org}/tokens/${ids['later']}`)).body['spend_30d']).toEqual(row?.spend_30d);
  });
});

describe('GET /api/v1/orgs/{org}/logs', () => {
  test('each row and its detail name the token, its project and its owner as they are now', async () => {
    const event = spend(ids['soon'] ?? '', 5);
    await post(api.db, event);
    await api.call('PATCH', `/api/v1/orgs/${org}/tokens/${ids['soon']}`, { name: 'renamed', project: 'moved' });
    const expected = { token_name: 'renamed', project: 'moved', owner: { id: owner.id, name: 'Somebody' } };
    const rows = (await api.call('GET', `/api/v1/orgs/${org}/logs?token_id=${ids['soon']}`)).body['data'];
    expect(rows).toMatchObject([expected]);
    expect((await api.call('GET', `/api/v1/orgs/${org}/logs/${event.request_id}`)).body).toMatchObject(expected);
    expect((await api.call('GET', `/api/v1/orgs/${org}/logs?token_id=${ids['later']}&limit=1`)).body['data']).toMatchObject([
      { token_name: 'later', project: 'shop', owner: null },
    ]);
    const file = await api.app.request(`http://farebox.test/api/v1/orgs/${org}/logs/export?token_id=${ids['soon']}`, { headers: owner.as });
    const [head = '', row = ''] = (await file.text()).split('\r\n');
    const cells = Object.fromEntries(
      head
        .replaceAll('"', '')
        .split(',')
        .map((name, at) => [name, row.replaceAll('"', '').split(',')[at]]),
    );
    expect(cells).toMatchObject({ token: 'renamed', project: 'moved', member: 'Somebody', 'member id': owner.id });
  });
});

describe('GET /api/v1/orgs/{org}/overview', () => {
  interface Overview {
    readonly balance: unknown;
    readonly burn_rate: unknown;
    readonly thirty_days: { now: { charged: { micro: number } }; before: { charged: { micro: number } } };
    readonly days: {
      totals: { charged: { micro: number }; requests: number };
      models: { model: string | null; requests: number; cost: { micro: number } }[];
    }[];
    readonly attention: { token_id: string; reason: string }[];
  }
  const overview = async (as: Record<string, string> = {}): Promise<Overview> => {
    const reply = await api.call('GET', `/api/v1/orgs/${org}/overview`, undefined, as);
    expect(reply.status, reply.text).toBe(200);
    return reply.body as unknown as Overview;
  };

  test('without the permission for credits it is everything but the balance', async () => {
    const seen = await overview((await member(api, org, ['usage.read_own', 'tokens.manage_own'])).as);
    expect([seen.balance, seen.burn_rate, seen.thirty_days.now.charged.micro]).toEqual([null, null, 0]);
    expect((await overview(owner.as)).balance).not.toBeNull();
  });

  test('each day is the sum of its models, five by name and the rest together; 30 days are the sum of the days', async () => {
    await post(api.db, ...Array.from({ length: 7 }, (_, n) => ({ ...spend(ids['later'] ?? '', 1_000 + n), model: `model ${n}` })));
    const seen = await overview();
    let total = 0;
    for (const { totals, models } of seen.days) {
      expect(models.reduce((sum, one) => sum + one.cost.micro, 0)).toBe(totals.charged.micro);
      expect(models.reduce((sum, one) => sum + one.requests, 0)).toBe(totals.requests);
      total += totals.charged.micro;
    }
    expect(seen.days).toHaveLength(30);
    expect(seen.days.at(-1)?.models.map(({ model }) => model)).toEqual(['gpt-4o-mini', 'model 6', 'model 5', 'model 4', 'model 3', null]);
    expect(seen.thirty_days.now.charged.micro).toBe(total);
    expect(seen.thirty_days.before.charged.micro).toBe(77_000_000);
  });

  test('a token that nobody has used for 90 days needs attention', async () => {
    const forgotten = await api.token(org);
    await api.db.query("update tokens set created_at = now() - interval '91 days' where token_id = $1", [forgotten.id]);
    expect((await overview()).attention).toContainEqual({ token_id: forgotten.id, name: 'test', reason: 'unused' });
    expect((await overview()).attention.find((one) => one.token_id === ids['Shop 100%_front'])).toBeUndefined();
  });
});
