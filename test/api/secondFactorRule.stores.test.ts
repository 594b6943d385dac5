import { expect, test } from 'vitest';
import { managementKey, member, person } from './cast.js';
import { signedIn, useApi } from './harness.js';

const api = useApi();
const rule = (org: string) => `/api/v1/orgs/${org}/two-factor`;
const strong = { twoFactor: true };

test('members without a second factor are let in nowhere from the very next call, and see what to do', async () => {
  const org = await api.org();
  const [owner, plain] = [await member(api, org, 'owner', strong), await member(api, org, 'admin')];
  const balance = (as: Record<string, string>) => api.call('GET', `/api/v1/orgs/${org}/balance`, undefined, as);
  expect((await balance(plain.as)).status).toBe(200);
  const on = await api.call('PUT', rule(org), { required: true }, owner.as);
  expect([on.status, on.body]).toMatchObject([200, { required: true, changed_by: `person:${owner.id}` }]);
  expect((on.body['without'] as unknown as { person_id: string }[]).map(({ person_id }) => person_id)).toContain(plain.id);
  const shut = await balance(plain.as);
  expect([shut.status, shut.body['code']]).toEqual([403, 'two_factor_required']);
  expect((await api.call('GET', '/api/v1/balance', undefined, plain.as)).body['code'], 'nor by the short form').toBe('two_factor_required');
  expect((await api.call('PUT', rule(org), { required: false }, plain.as)).body['code'], 'nor out of it').toBe('two_factor_required');
  expect((await balance(owner.as)).status).toBe(200);
  expect((await balance(signedIn(plain.id, strong))).status, 'once it is on').toBe(200);
  expect((await balance((await managementKey(api, org, 'balance:read')).as)).status, 'keys are nobody').toBe(200);
  expect((await balance((await person(api, { operatorRole: 'operator.support' })).as)).status).toBe(200);
  expect((await api.call('POST', `/api/v1/orgs/${org}/leave`, { tokens: 'keep' }, plain.as)).status, 'who does not want to may go').toBe(
    200,
  );
});

test('an organization of others is none of its business', async () => {
  const [org, other] = [await api.org(), await api.org()];
  const [owner, elsewhere] = [await member(api, org, 'owner', strong), await member(api, other, 'viewer')];
  await api.call('PUT', rule(org), { required: true }, owner.as);
  expect((await api.call('GET', `/api/v1/orgs/${other}/balance`, undefined, elsewhere.as)).status).toBe(200);
  expect((await api.call('GET', `/api/v1/orgs/${org}/balance`, undefined, elsewhere.as)).status, 'still as if it were not there').toBe(404);
});

test('nobody shuts themselves out, and it takes a proof and the permission', async () => {
  const org = await api.org();
  const without = await member(api, org, 'owner');
  const stale = await member(api, org, 'owner', { ...strong, authenticatedAt: new Date(Date.now() - 601_000) });
  const viewer = await member(api, org, 'viewer', strong);
  const put = (as: Record<string, string>) => api.call('PUT', rule(org), { required: true }, as).then(({ body }) => body['code']);
  expect([await put(without.as), await put(stale.as), await put(viewer.as)]).toEqual(['two_factor_off', 'step_up_required', 'forbidden']);
  expect((await api.call('GET', rule(org))).body).toMatchObject({ required: false, changed_at: null });
  expect((await api.call('PUT', rule(org), { required: 'yes' })).status).toBe(400);
  for (const required of [true, true, false]) expect((await api.call('PUT', rule(org), { required })).body['required']).toBe(required);
  const lines = await api.call('GET', `/api/v1/admin/audit?org_id=${org}&action=org.two_factor`);
  expect((lines.body['data'] as unknown as unknown[]).length, 'what changed nothing is no line').toBe(2);
});
