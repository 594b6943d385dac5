import { describe, expect, test } from 'vitest';
import { managementKey, member, person } from './cast.js';
import { pointers, useApi } from './harness.js';

const api = useApi();
const of = (org: string) => `/api/v1/orgs/${org}/limits`;

async function hotTerms(org: string) {
  const token = await api.token(org);
  const found = await api.store.lookup(token.id as never);
  return found.kind === 'found' ? found.org : undefined;
}

describe('GET /api/v1/orgs/{org}/limits', () => {
  test('200: without limits, with the end of the month all the same', async () => {
    const org = await api.org();
    const { status, body, headers } = await api.call('GET', of(org));
    expect(status).toBe(200);
    expect(body).toMatchObject({ alert_threshold: null, allowed_limit: null, action: 'block_all', remaining: null, state: 'ok' });
    expect(Date.parse(String(body['resets_at']))).toBeGreaterThan(Date.now());
    expect(headers.get('etag')).toMatch(/^"[0-9a-f]{16}"$/);
  });

  test('404: unknown organizations', async () => {
    for (const path of [of('org_07AAAAAAAAAAAAAA'), `${of('org_07AAAAAAAAAAAAAA')}/history`])
      expect((await api.call('GET', path)).status).toBe(404);
    expect((await api.call('PUT', of('org_07AAAAAAAAAAAAAA'), {})).status).toBe(404);
  });
});

describe('PUT /api/v1/orgs/{org}/limits', () => {
  test('200: every limit reaches the hot store before the answer, with the month it counts in', async () => {
    const org = await api.org();
    const put = await api.call('PUT', of(org), {
      alert_threshold: '4',
      allowed_limit: 5,
      action: 'pause_noncritical',
      approach_ratio: 0.8,
    });
    expect(put.status, put.text).toBe(200);
    expect(put.body).toMatchObject({
      alert_threshold: { credits: '4' },
      allowed_limit: { credits: '5' },
      critical_ceiling: { credits: '6' },
      approach_ratio: 0.8,
      remaining: { credits: '5' },
    });
    expect(put.body).not.toHaveProperty('warning');
    expect(await hotTerms(org)).toMatchObject({ limit: 5_000_000, limitAction: 'pause_noncritical', criticalCeiling: 6_000_000 });
    const state = await api.store.inspect(org as never);
    expect(state && 'balance' in state && state.balance.monthEndsAtMs).toBe(Date.parse(String(put.body['resets_at'])));
  });

  test('200: what is not said is not there any more', async () => {
    const org = await api.org();
    await api.call('PUT', of(org), { alert_threshold: 1, allowed_limit: 2, action: 'pause_noncritical', critical_ceiling: null });
    const { body } = await api.call('PUT', of(org), {});
    expect(body).toMatchObject({
      alert_threshold: null,
      allowed_limit: null,
      action: 'block_all',
      critical_ceiling: null,
      approach_ratio: 0.9,
    });
    expect(await hotTerms(org)).toMatchObject({ limit: null });
  });

  test('200: a limit below what is used is set, and the answer says what that means', async () => {
    const org = await api.org();
    const put = await api.call('PUT', of(org), { allowed_limit: 0 });
    expect(put.body).toMatchObject({ state: 'limited', warning: expect.stringContaining('refused from now on') });
  });

  test('200: equal thresholds are allowed', async () => {
    const org = await api.org();
    const same = { alert_threshold: 5, allowed_limit: 5, critical_ceiling: 5, action: 'pause_noncritical' };
    expect((await api.call('PUT', of(org), same)).status).toBe(200);
  });

  test.each([
    [{ alert_threshold: 6, allowed_limit: 5 }, ['/alert_threshold']],
    [{ allowed_limit: 5, critical_ceiling: '4.999999' }, ['/critical_ceiling']],
    [{ critical_ceiling: 5 }, ['/critical_ceiling']],
    [{ allowed_limit: -1 }, ['/allowed_limit']],
    [{ allowed_limit: '1e3' }, ['/allowed_limit']],
    [{ allowed_limit: 0.0000001 }, ['/allowed_limit']],
    [{ approach_ratio: 0 }, ['/approach_ratio']],
    [{ approach_ratio: 1.1 }, ['/approach_ratio']],
    [{ action: 'stop' }, ['/action']],
    [{ limit: 5 }, ['/limit']],
  ])('400: %j is refused at %j, and nothing changes', async (body, where) => {
    const org = await api.org();
    await api.call('PUT', of(org), { allowed_limit: 7 });
    const wrong = await api.call('PUT', of(org), body);
    expect([wrong.status, pointers(wrong)]).toEqual([400, where]);
    expect((await api.call('GET', of(org))).body).toMatchObject({ allowed_limit: { credits: '7' } });
  });

  test('412: whoever read older limits sees the current ones, and of two at once one wins', async () => {
    const org = await api.org();
    const etag = (await api.call('GET', of(org))).headers.get('etag') ?? '';
    const put = (credits: number) => api.call('PUT', of(org), { allowed_limit: credits }, { 'if-match': etag });
    const both = await Promise.all([put(1), put(2)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412]);
    const [won, lost] = both.sort((a, b) => a.status - b.status);
    expect(lost?.body['current']).toMatchObject({ allowed_limit: won?.body['allowed_limit'] });
    expect(lost?.headers.get('etag')).toBe(won?.headers.get('etag'));
  });

  test('the history says what was in force when, without gaps, and the audit log who changed it', async () => {
    const org = await api.org();
    for (const allowed_limit of [5, 5, 6]) await api.call('PUT', of(org), { allowed_limit });
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { limit: 3 });
    const { body } = await api.call('GET', `${of(org)}/history`);
    const rows = body['data'] as unknown as { allowed_limit: { credits: string } | null; from: string; to: string | null }[];
    expect(rows.map((row) => row.allowed_limit?.credits ?? null)).toEqual(['3', '6', '5', null]);
    expect(rows.map((row) => row.to)).toEqual([null, ...rows.slice(0, -1).map((row) => row.from)]);
    const first = await api.call('GET', `${of(org)}/history?limit=3`);
    const rest = await api.call('GET', `${of(org)}/history?limit=3&cursor=${first.body['next_cursor']}`);
    expect([(first.body['data'] as unknown as unknown[]).length, (rest.body['data'] as unknown as unknown[]).length]).toEqual([3, 1]);
    const lines = await api.call('GET', `/api/v1/admin/audit?org_id=${org}&action=limits.update`);
    expect(lines.body['data']).toHaveLength(2);
  });

  test('a limit lowered elsewhere below the threshold takes the threshold with it', async () => {
    const org = await api.org();
    await api.call('PUT', of(org), { alert_threshold: 8, allowed_limit: 10 });
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { limit: 5 });
    expect((await api.call('GET', of(org))).body).toMatchObject({ alert_threshold: { credits: '5' }, allowed_limit: { credits: '5' } });
  });
});

describe('who set the limits, and who is told', () => {
  const changedBy = async (org: string) => (await api.call('GET', of(org))).body['changed_by'];

  test('owners are told unless somebody else is named; every change is a version with its author', async () => {
    const org = await api.org();
    expect((await api.call('GET', of(org))).body).toMatchObject({ notify: ['owner'], changed_by: null });
    const marta = await member(api, org, 'billing');
    await api.db.query("update people set name = 'Marta' where person_id = $1", [marta.id]);
    const put = await api.call('PUT', of(org), { allowed_limit: 5, notify: [marta.id, 'billing', 'billing'] }, marta.as);
    expect(put.status, put.text).toBe(200);
    const by = { actor: `person:${marta.id}`, name: 'Marta' };
    expect(put.body).toMatchObject({ notify: ['billing', marta.id], changed_by: by });
    const key = await managementKey(api, org, 'limits:write', 'limits:read');
    await api.call('PUT', of(org), { allowed_limit: 6 }, key.as);
    expect(await changedBy(org)).toEqual({ actor: `key:${key.id}`, name: 'test' });
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { name: 'Renamed' });
    expect(await changedBy(org), 'nothing about limits was changed').toEqual({ actor: `key:${key.id}`, name: 'test' });
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { limit: 7 });
    expect(await changedBy(org)).toEqual({ actor: 'operator', name: null });
    const { body } = await api.call('GET', `${of(org)}/history`);
    expect(body['data']).toMatchObject([
      { allowed_limit: { credits: '7' }, changed_by: { actor: 'operator' }, notify: ['owner'] },
      { allowed_limit: { credits: '6' }, changed_by: { actor: `key:${key.id}` }, notify: ['owner'] },
      { allowed_limit: { credits: '5' }, changed_by: by, notify: ['billing', marta.id] },
      { allowed_limit: null, changed_by: null },
    ]);
  });

  test('412: whoever was slower reads who was faster, and what they set', async () => {
    const org = await api.org();
    const { headers } = await api.call('GET', of(org));
    const [first, second] = [await member(api, org, 'owner'), await member(api, org, 'admin')];
    const etag = { 'if-match': headers.get('etag') ?? '' };
    expect((await api.call('PUT', of(org), { allowed_limit: 5, notify: ['admin'] }, { ...first.as, ...etag })).status).toBe(200);
    const slow = await api.call('PUT', of(org), { allowed_limit: 9 }, { ...second.as, ...etag });
    expect([slow.status, slow.body['current']]).toMatchObject([
      412,
      { allowed_limit: { credits: '5' }, notify: ['admin'], changed_by: { actor: `person:${first.id}`, name: 'Somebody' } },
    ]);
  });

  test('telling somebody else changes the terms of nobody', async () => {
    const org = await api.org();
    const version = () => api.db.one('select terms_version from organizations where org_id = $1', [org]);
    await api.call('PUT', of(org), { allowed_limit: 5 });
    const before = await version();
    const put = await api.call('PUT', of(org), { allowed_limit: 5, notify: [] });
    expect(put.body).toMatchObject({ notify: [] });
    expect(await version()).toEqual(before);
  });

  test('400: roles and people of elsewhere, and nonsense; nothing is changed', async () => {
    const [org, other] = [await api.org(), await api.org()];
    const [stranger, outsider] = [await person(api), await member(api, other, 'owner')];
    const role = await api.call('POST', `/api/v1/orgs/${other}/roles`, { name: 'Theirs', permissions: ['logs.read'] });
    const notify = ['owner', stranger.id, outsider.id, String(role.body['id']), 'president'];
    const wrong = await api.call('PUT', of(org), { allowed_limit: 5, notify });
    expect([wrong.status, pointers(wrong)]).toEqual([400, ['/notify/1', '/notify/2', '/notify/3', '/notify/4']]);
    expect((await api.call('GET', of(org))).body).toMatchObject({ allowed_limit: null, notify: ['owner'], changed_by: null });
    expect(pointers(await api.call('PUT', of(org), { notify: ['https://x.example', 'usr_!'] }))).toEqual(['/notify/0', '/notify/1']);
    expect(pointers(await api.call('PUT', of(org), { notify: Array(21).fill('owner') }))).toEqual(['/notify']);
  });

  test('somebody who left is named by what they were called in the log, and by no name', async () => {
    const org = await api.org();
    const leaving = await member(api, org, 'owner');
    await api.call('PUT', of(org), { allowed_limit: 5 }, leaving.as);
    await api.db.query('delete from org_members where person_id = $1', [leaving.id]);
    expect(await changedBy(org)).toEqual({ actor: `person:${leaving.id}`, name: null });
  });
});
