import { beforeAll, expect, test } from 'vitest';
import { useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();
let [one, two] = ['', ''];

beforeAll(async () => {
  one = await api.org('Small user');
  two = await api.org('Large user');
  for (const [org, times] of [
    [one, 1],
    [two, 2],
  ] as const) {
    await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 3, reason: 'a start' });
    const token = (await api.token(org)).id;
    for (let i = 0; i < times; i++) await post(api.db, requestOf({ org, token, atMs: Date.now(), input: 100_000, output: 0 }));
  }
});

interface Overview {
  readonly today: { readonly requests: number; readonly cost: { readonly micro: number } };
  readonly month: { readonly cost: { readonly micro: number } };
  readonly credits: { readonly outstanding: { readonly micro: number } };
  readonly top_organizations: readonly { readonly org_id: string; readonly cost: { readonly micro: number } }[];
  readonly attention: readonly {
    readonly about: string;
    readonly state: string;
    readonly sentence: string;
    readonly org_id: string | null;
  }[];
}

const look = async (): Promise<Overview> => {
  const { status, body, text } = await api.call('GET', '/api/v1/admin/overview');
  expect(status, text).toBe(200);
  return body as unknown as Overview;
};
const micro = async (path: string, ...names: string[]): Promise<number> =>
  names.reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], (await api.call('GET', path)).body) as number;

test('200: the sums are those that each organization sees of itself', async () => {
  const overview = await look();
  const months = await Promise.all([one, two].map((org) => micro(`/api/v1/admin/orgs/${org}`, 'wallet', 'month_spent', 'micro')));
  const balances = await Promise.all([one, two].map((org) => micro(`/api/v1/orgs/${org}/statement`, 'balance', 'micro')));
  const sum = (all: number[]) => all.reduce((a, b) => a + b, 0);
  expect(overview).toMatchObject({ organizations: { total: 2, suspended: 0 }, people: 0, today: { requests: 3, errors: 0 } });
  expect(overview.month.cost.micro).toBe(sum(months));
  expect(overview.credits.outstanding.micro).toBe(sum(balances.map((left) => Math.max(0, left))));
  expect(overview.top_organizations.map(({ org_id: org, cost }) => [org, cost.micro])).toEqual([
    [two, months[1]],
    [one, months[0]],
  ]);
});

test('200: what needs a person is named, the worst first', async () => {
  await api.db.query(`insert into poison_rows (org_id, event, error) values ($1, '{}', 'a test')`, [one]);
  await api.db.query('update organizations set projected_version = 0 where org_id = $1', [two]);
  const { attention } = await look();
  expect(attention.map(({ about }) => about)).toEqual(expect.arrayContaining(['set_aside', 'projections']));
  expect(attention.map(({ state }) => state)).toEqual(attention.map(({ state }) => state).sort());
  expect(attention.find(({ about }) => about === 'set_aside')?.sentence).toBe('1 charge could not be booked and waits for a person.');
});

test('200: an organization that owes is named with its debt', async () => {
  const org = await api.org('In debt');
  const token = (await api.token(org)).id;
  await post(api.db, requestOf({ org, token, atMs: Date.now(), input: 100_000, output: 0 }));
  const { attention } = await look();
  expect(attention.find(({ org_id: id }) => id === org)).toMatchObject({
    about: 'debt',
    state: 'warn',
    sentence: expect.stringMatching(/^In debt owes [\d.]+ credits\.$/),
  });
});
