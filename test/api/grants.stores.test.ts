import { describe, expect, test } from 'vitest';
import { pointers, useApi } from './harness.js';

const api = useApi();
const grantsOf = (org: string) => `/api/v1/admin/orgs/${org}/grants`;
const available = async (org: string) => (await api.call('GET', `/api/v1/orgs/${org}/balance`)).body['available'];

describe('POST /api/v1/admin/orgs/{org}/grants', () => {
  test('201: credits can be spent at once, to the last micro-credit', async () => {
    const org = await api.org();
    const made = await api.call('POST', grantsOf(org), { credits: '12.345678', reason: 'first order' });
    expect(made.status, made.text).toBe(201);
    expect(made.body['amount']).toEqual({ credits: '12.345678', micro: 12_345_678, money: { amount: '0.12345678', currency: 'USD' } });
    expect(await available(org)).toMatchObject({ micro: 12_345_678 });
    const state = await api.store.inspect(org as never);
    expect(state).toMatchObject({ spendable: 12_345_678, balance: { avail: 12_345_678 } });
  });

  test('201: the same Idempotency-Key grants once, however many ask at the same time', async () => {
    const org = await api.org();
    const ask = () => api.call('POST', grantsOf(org), { credits: 5, reason: 'retry' }, { 'idempotency-key': 'g-1' });
    const replies = await Promise.all([ask(), ask(), ask(), ask()]);
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 201, 201]);
    expect(new Set(replies.map(({ body }) => body['id'])).size).toBe(1);
    expect(await available(org)).toMatchObject({ credits: '5' });
    const other = await api.call('POST', grantsOf(org), { credits: 6, reason: 'retry' }, { 'idempotency-key': 'g-1' });
    expect([other.status, other.body['code']]).toEqual([422, 'idempotency_mismatch']);
    const elsewhere = await api.org();
    expect((await api.call('POST', grantsOf(elsewhere), { credits: 6, reason: 'own key' }, { 'idempotency-key': 'g-1' })).status).toBe(201);
  });

  test.each([
    [-1],
    [0],
    ['0'],
    ['0.0000001'],
    [0.0000001],
    [1e30],
    ['1e3'],
    ['１００'],
    ['NaN'],
    [null],
    [true],
    [[]],
    [{}],
    ['-0'],
    [' 5'],
    ['5 '],
    ['0x10'],
    ['1,5'],
    ['1_000'],
    ['Infinity'],
    [123456789012.12346],
    ['9999999999999'],
    [undefined],
  ])('400: credits %j is refused with its pointer, and nothing is granted', async (credits) => {
    const org = await api.org();
    const wrong = await api.call('POST', grantsOf(org), { credits, reason: 'no' });
    expect([wrong.status, pointers(wrong)]).toEqual([400, ['/credits']]);
    expect(await available(org)).toMatchObject({ micro: 0 });
  });

  // B24
  test('400: JSON numbers that are no numbers', async () => {
    const org = await api.org();
    for (const text of ['NaN', '1e309', '-1e-400', '01', '+1'])
      expect((await api.call('POST', grantsOf(org), `{"credits":${text},"reason":"x"}`)).status, text).toBe(400);
  });

  test('400: a reason is needed, a kind is known, an end lies ahead', async () => {
    const org = await api.org();
    const wrong = await api.call('POST', grantsOf(org), { credits: 1, kind: 'topup', expires_at: 'tomorrow', to: 'x' });
    expect(pointers(wrong)).toEqual(['/expires_at', '/kind', '/reason', '/to']);
    expect(pointers(await api.call('POST', grantsOf(org), { credits: 1, reason: 'x', expires_at: '2001-01-01T00:00:00Z' }))).toEqual([
      '/expires_at',
    ]);
  });

  test('404: nobody there to receive them', async () => {
    expect((await api.call('POST', grantsOf('org_07AAAAAAAAAAAAAA'), { credits: 1, reason: 'x' })).status).toBe(404);
  });

  test('the audit log names who granted what and why', async () => {
    const org = await api.org();
    await api.call('POST', grantsOf(org), { credits: 2, reason: 'sorry', kind: 'goodwill', expires_at: '2999-01-01T00:00:00Z' });
    const lines = (await api.call('GET', `/api/v1/admin/audit?org_id=${org}&action=grant.create`)).body['data'];
    expect(lines).toMatchObject([{ actor: 'operator', org_id: org }]);
    expect(JSON.stringify(lines)).toContain('sorry');
  });
});

describe('GET /api/v1/orgs/{org}/balance', () => {
  test('200: what runs is in flight, what has ended is pending until it is booked', async () => {
    const org = await api.org();
    const token = await api.token(org);
    await api.call('POST', grantsOf(org), { credits: 10, reason: 'start', kind: 'trial', expires_at: '2999-01-01T00:00:00Z' });
    const known = await api.store.lookup(token.id as never);
    if (known.kind !== 'found') throw new Error(known.kind);
    const ids = ['req_019ab0f4c2d87c3ea1b2c3d4e5f60718', 'req_019ab0f4c2d87c3ea1b2c3d4e5f60719'] as const;
    for (const requestId of ids) {
      const held = await api.store.hold({
        requestId: requestId as never,
        tokenId: token.id as never,
        orgId: org as never,
        digest: known.token.digest,
        tokenVersion: known.token.version,
        orgVersion: known.org.version,
        amount: 2_000_000 as never,
        tokens: 1,
        leaseMs: 20_000,
        note: '{}',
        idempotencyKey: null,
      });
      expect(held.kind).toBe('held');
    }
    await api.store.settle({
      requestId: ids[0] as never,
      orgId: org as never,
      tokenId: token.id as never,
      kind: 'final',
      cost: 500_000 as never,
      event: '{}',
    });
    const { body, status } = await api.call('GET', `/api/v1/orgs/${org}/balance`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      available: { credits: '7.5' },
      in_flight: { credits: '2' },
      pending: { credits: '0.5' },
      settled: { credits: '10' },
      debt: { micro: 0 },
      live: true,
      currency: 'USD',
      by_bucket: [{ kind: 'trial', remaining: { credits: '10' }, burn_order: 1, expires_at: '2999-01-01T00:00:00.000Z' }],
    });
  });

  test('404: unknown organizations', async () => {
    expect((await api.call('GET', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/balance')).status).toBe(404);
  });
});
