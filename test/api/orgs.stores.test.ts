import { describe, expect, test } from 'vitest';
import { person } from './cast.js';
import { pointers, useApi } from './harness.js';

const api = useApi();

describe('POST /api/v1/admin/orgs', () => {
  test('201: an organization starts active, with nothing', async () => {
    const made = await api.call('POST', '/api/v1/admin/orgs', { name: '  Acme GmbH ' });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ name: 'Acme GmbH', status: 'active', group: 'default', limit: null });
    expect(made.body['id']).toMatch(/^org_\d\d[0-9A-Za-z]{14}$/);
    const balance = await api.call('GET', `/api/v1/orgs/${made.body['id']}/balance`);
    expect(balance.body['available']).toEqual({ credits: '0', micro: 0, money: { amount: '0', currency: 'USD' } });
  });

  test('201: the same Idempotency-Key makes one organization, also when two requests race', async () => {
    const headers = { 'idempotency-key': 'make-acme' };
    const both = await Promise.all([1, 2].map(() => api.call('POST', '/api/v1/admin/orgs', { name: 'Once' }, headers)));
    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    expect(both[0]?.body['id']).toBe(both[1]?.body['id']);
    const lines = await api.call('GET', `/api/v1/admin/audit?org_id=${both[0]?.body['id']}&action=org.create`);
    expect(lines.body['data']).toHaveLength(1);
  });

  test('422: the same key with another body', async () => {
    const headers = { 'idempotency-key': 'make-other' };
    await api.call('POST', '/api/v1/admin/orgs', { name: 'One' }, headers);
    const other = await api.call('POST', '/api/v1/admin/orgs', { name: 'Two' }, headers);
    expect([other.status, other.body['code']]).toEqual([422, 'idempotency_mismatch']);
  });

  test('400: every wrong field is named at once', async () => {
    const wrong = await api.call('POST', '/api/v1/admin/orgs', { name: '', balance: 1e9, role: 'admin' }, { 'idempotency-key': 'ü b' });
    expect(wrong.status).toBe(400);
    expect(pointers(wrong)).toEqual(['/balance', '/name', '/role', 'Idempotency-Key']);
  });

  test.each([[{}], [{ name: 1 }], [{ name: 'a\u0000b' }], [{ name: 'x'.repeat(201) }], [[]], ['null']])('400: %j', async (body) => {
    expect((await api.call('POST', '/api/v1/admin/orgs', body)).status).toBe(400);
  });
});

describe('GET /api/v1/admin/orgs', () => {
  test('200: pages follow one another without gaps or repeats', async () => {
    for (let i = 0; i < 5; i++) await api.org(`Paged ${i}`);
    const seen: string[] = [];
    for (let path = '/api/v1/admin/orgs?limit=2'; ; ) {
      const page = await api.call('GET', path);
      expect(page.status).toBe(200);
      seen.push(...(page.body['data'] as unknown as { id: string }[]).map(({ id }) => id));
      if (!page.body['has_more']) break;
      path = `/api/v1/admin/orgs?limit=2&cursor=${page.body['next_cursor']}`;
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.length).toBeGreaterThanOrEqual(5);
  });

  test('200: searched by a part of the name, by id and by group, with what each has and has spent', async () => {
    const id = await api.org('Zürich 100% _Trams');
    const found = async (query: string) =>
      ((await api.call('GET', `/api/v1/admin/orgs?${query}`)).body['data'] as unknown as { id: string }[]).map((one) => one.id);
    for (const q of ['zürich', '100%25', '_tr', id]) expect(await found(`q=${q}`), q).toEqual([id]);
    expect(await found('q=zurich')).toEqual([]);
    await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { group: 'vip', limit: 5 });
    await api.call('POST', `/api/v1/admin/orgs/${id}/grants`, { credits: 7, reason: 'test' });
    await api.token(id);
    expect(await found('group=vip&q=trams')).toEqual([id]);
    expect((await api.call('GET', `/api/v1/admin/orgs/${id}`)).body).toMatchObject({
      group: 'vip',
      wallet: { booked: { credits: '7' }, debt: { credits: '0' }, month_spent: { credits: '0' } },
      limit_state: 'ok',
      members: 0,
      tokens: 1,
    });
  });

  test('400: a cursor of other filters, a forged one, and limits out of range', async () => {
    const cursor = (await api.call('GET', '/api/v1/admin/orgs?limit=1')).body['next_cursor'];
    const codes = await Promise.all(
      [`limit=1&status=active&cursor=${cursor}`, 'cursor=AAAA', `cursor=${String(cursor).slice(0, -2)}xx`].map(
        async (query) => (await api.call('GET', `/api/v1/admin/orgs?${query}`)).body['code'],
      ),
    );
    expect(codes).toEqual(['cursor_mismatch', 'cursor_invalid', 'cursor_invalid']);
    for (const query of ['limit=0', 'limit=201', 'limit=1e1', 'limit=-1', 'limit=1&limit=2', 'sort=id', '__proto__=1'])
      expect((await api.call('GET', `/api/v1/admin/orgs?${query}`)).status, query).toBe(400);
  });
});

describe('GET and PATCH /api/v1/admin/orgs/{org}', () => {
  test('200: terms change and the hot store has them before the answer', async () => {
    const id = await api.org();
    const changed = await api.call('PATCH', `/api/v1/admin/orgs/${id}`, {
      status: 'suspended',
      overdraft: '5.5',
      limit: { amount: 100, action: 'pause_noncritical', critical_ceiling: '120' },
      group: 'vip',
      prices: { 'gpt-4o*': '0.5' },
      time_zone: 'Europe/Berlin',
    });
    expect(changed.status, changed.text).toBe(200);
    expect(changed.body).toMatchObject({ status: 'suspended', group: 'vip', prices: { 'gpt-4o*': '0.5' }, time_zone: 'Europe/Berlin' });
    expect(changed.body['limit']).toMatchObject({ amount: { micro: 100_000_000 }, critical_ceiling: { credits: '120' } });
    const token = await api.token(id);
    const known = await api.store.lookup(token.id as never);
    expect(known).toMatchObject({ kind: 'found', org: { status: 'suspended', overdraft: 5_500_000, group: 'vip', limit: 100_000_000 } });
    const back = await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { limit: null, prices: null });
    expect(back.body).toMatchObject({ limit: null, prices: null, group: 'vip' });
    expect(back.body).toEqual({ ...((await api.call('GET', `/api/v1/orgs/${id}`)).body as object), time_zone_change: null });
  });

  test('403: to let an organization owe more takes a proof of the last ten minutes, all else does not', async () => {
    const id = await api.org();
    const at = `/api/v1/admin/orgs/${id}`;
    const admin = (authenticatedAt: Date) => person(api, { operatorRole: 'operator.admin', authenticatedAt });
    const [stale, fresh] = [await admin(new Date(Date.now() - 601_000)), await admin(new Date())];
    const refused = await api.call('PATCH', at, { overdraft: 5 }, stale.as);
    expect([refused.status, refused.body['code']]).toEqual([403, 'step_up_required']);
    expect((await api.call('PATCH', at, { overdraft: 5 }, fresh.as)).status).toBe(200);
    expect((await api.call('PATCH', at, { overdraft: 4, name: 'Less' }, stale.as)).body).toMatchObject({ overdraft: { credits: '4' } });
  });

  test('412: somebody else was first, and the answer shows what they wrote', async () => {
    const id = await api.org('First');
    const etag = String((await api.call('GET', `/api/v1/admin/orgs/${id}`)).headers.get('etag'));
    expect((await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { name: 'Second' }, { 'if-match': etag })).status).toBe(200);
    const late = await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { name: 'Third' }, { 'if-match': etag });
    expect([late.status, late.body['code']]).toEqual([412, 'changed_meanwhile']);
    expect(late.body['current']).toMatchObject({ name: 'Second' });
  });

  test('400: groups and prices nobody can read are refused before they refuse every request', async () => {
    const id = await api.org();
    const wrong = await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { group: 'nobody', prices: { x: -1, y: { kind: 'odd' } } });
    expect(pointers(wrong)).toEqual(['/group', '/prices/x', '/prices/y']);
    for (const body of [
      { overdraft: -1 },
      { overdraft: null },
      { limit: 'all' },
      { limit: { amount: 1, hard: true } },
      { time_zone: 'Mars' },
    ])
      expect((await api.call('PATCH', `/api/v1/admin/orgs/${id}`, body)).status, JSON.stringify(body)).toBe(400);
  });

  test('404: unknown, malformed and hostile ids look the same', async () => {
    const bodies = await Promise.all(
      ['org_07AAAAAAAAAAAAAA', 'org_x', '1', "'%20OR%20'1'='1", '%7B07%7D:org', 'org_07AAAAAAAAAAAAAA%0a'].map(async (id) => {
        const reply = await api.call('GET', `/api/v1/admin/orgs/${id}`);
        return [reply.status, reply.body['code']];
      }),
    );
    expect(new Set(bodies.map(String))).toEqual(new Set(['404,not_found']));
  });

  test('the audit log says who changed what, before and after', async () => {
    const id = await api.org('Before');
    await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { name: 'After' });
    await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { name: 'After' });
    const lines = (await api.call('GET', `/api/v1/admin/audit?org_id=${id}`)).body['data'] as unknown as Record<string, unknown>[];
    expect(lines.map(({ action }) => action)).toEqual(['org.update', 'org.create']);
    await api.call('PATCH', `/api/v1/admin/orgs/${id}`, { status: 'suspended', reason: 'unpaid' });
    const of = async (query: string) =>
      (await api.call('GET', `/api/v1/admin/audit?org_id=${id}&${query}`)).body['data'] as unknown as unknown[];
    expect(await of('action=org&limit=1')).toMatchObject([{ details: { reason: 'unpaid', after: { status: 'suspended' } } }]);
    expect(
      [await of('actor=operator'), await of('actor=nobody'), await of(`subject=${id}`), await of('subject=x')].map((one) => one.length),
    ).toEqual([...[3, 0, 3, 0]]);
    expect(await of('to=2020-01-01T00:00:00Z')).toEqual([]);
    expect(await of('from=2020-01-01T00:00:00Z')).toHaveLength(3);
    expect(lines[0]).toMatchObject({ actor: 'operator', subject: id, details: { before: { name: 'Before' }, after: { name: 'After' } } });
  });
});
