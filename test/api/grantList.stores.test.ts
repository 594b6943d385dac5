import { expect, test } from 'vitest';
import { managementKey, member } from './cast.js';
import { useApi } from './harness.js';
import { post, requestOf } from './requests.js';

const api = useApi();

interface Listed {
  readonly data: readonly {
    id: string;
    kind: string;
    state: string;
    burn_order: number | null;
    granted: { micro: number };
    remaining: { micro: number };
  }[];
  readonly totals: { grants: number; granted: { micro: number }; remaining: { micro: number } };
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}

const list = async (org: string, query = ''): Promise<Listed> =>
  (await api.call('GET', `/api/v1/orgs/${org}/grants${query}`)).body as unknown as Listed;

const grant = (org: string, credits: number, more: Record<string, unknown> = {}) =>
  api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits, reason: 'test', ...more });

/** Four grants: one used up, one expired with a rest, two live, and a debt that was paid. */
async function story(): Promise<string> {
  const org = await api.org();
  const token = await api.token(org);
  const spend = (micro: number) =>
    post(api.db, requestOf({ org, token: token.id, atMs: Date.now(), input: 0, output: 1, rates: { input: '0', output: String(micro) } }));
  await spend(1_500_001);
  await grant(org, 3);
  await spend(1_499_999);
  await grant(org, 5, { kind: 'trial', expires_at: new Date(Date.now() + 60_000).toISOString() });
  await spend(2_000_003);
  await api.db.query("select * from expire_grants(now() + interval '1 hour')");
  await grant(org, 7, { kind: 'goodwill' });
  await grant(org, 11);
  await spend(333_333);
  // What the worker does after it has booked charges.
  await api.deps.project.org(org as never);
  return org;
}

test('every grant is listed once, newest first, with what is left of it and why', async () => {
  const org = await story();
  const all = await list(org);
  expect(all.data.map(({ kind, state, burn_order }) => [kind, state, burn_order])).toEqual([
    ['manual', 'live', 2],
    ['goodwill', 'live', 1],
    ['trial', 'expired', null],
    ['manual', 'used', null],
  ]);
  const paged: string[] = [];
  for (let cursor = ''; ; ) {
    const page = await list(org, `?limit=1${cursor}`);
    expect(page.totals).toEqual(all.totals);
    paged.push(...page.data.map(({ id }) => id));
    if (!page.has_more) break;
    cursor = `&cursor=${page.next_cursor}`;
  }
  expect(paged).toEqual(all.data.map(({ id }) => id));
  for (const state of ['live', 'used', 'expired'])
    expect((await list(org, `?state=${state}`)).data).toEqual(all.data.filter((one) => one.state === state));
  const page = await list(org, '?limit=1');
  expect((await api.call('GET', `/api/v1/orgs/${org}/grants?limit=1&state=live&cursor=${page.next_cursor}`)).body['code']).toBe(
    'cursor_mismatch',
  );
});

test('its sums are those of the balance and of the statement, to the micro-credit', async () => {
  const org = await story();
  const [all, live] = [await list(org), await list(org, '?state=live')];
  const balance = (await api.call('GET', `/api/v1/orgs/${org}/balance`)).body as unknown as {
    settled: { micro: number };
    debt: { micro: number };
    by_bucket: { id: string; burn_order: number; granted: { micro: number }; remaining: { micro: number } }[];
  };
  const statement = (await api.call('GET', `/api/v1/orgs/${org}/statement`)).body as unknown as {
    totals: { grants: number; granted: { micro: number }; remaining: { micro: number } };
    grants: { data: { id: string; remaining: { micro: number } }[] };
  };
  const { grants, granted, remaining } = statement.totals;
  expect(all.totals).toEqual({ grants, granted, remaining });
  expect(all.data.reduce((sum, one) => sum + one.granted.micro, 0)).toBe(granted.micro);
  expect(all.data.map(({ id, remaining: left }) => [id, left])).toEqual(statement.grants.data.map(({ id, remaining: left }) => [id, left]));
  expect(live.totals.remaining.micro).toBe(balance.settled.micro + balance.debt.micro);
  const inOrder = [...live.data].sort((a, b) => (a.burn_order ?? 0) - (b.burn_order ?? 0));
  expect(inOrder.map((one) => [one.id, one.burn_order, one.granted, one.remaining])).toEqual(
    balance.by_bucket.map((one) => [one.id, one.burn_order, one.granted, one.remaining]),
  );
});

test('who may not see credits sees no grants, and a digest of a code is shown to nobody', async () => {
  const org = await api.org();
  await api.db.query(
    "select * from post_grant($1, 'code:x', 'redeem', 5, 'paid', 50, 'promo', p_source_type => 'code', p_source_id => 'secret digest')",
    [org],
  );
  const seen = await api.call('GET', `/api/v1/orgs/${org}/grants`, undefined, (await managementKey(api, org, 'balance:read')).as);
  expect(seen.body['data']).toMatchObject([{ kind: 'redeem', reference: { type: 'code', id: null } }]);
  expect(seen.text).not.toContain('secret digest');
  const without = await member(api, org, ['usage.read']);
  expect((await api.call('GET', `/api/v1/orgs/${org}/grants`, undefined, without.as)).status).toBe(403);
  expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/grants')).status).toBe(404);
});
