import { describe, expect, test } from 'vitest';
import type { TokenTerms } from '../../src/credits/store.js';
import { digestOf, tokenIdOf } from '../../src/domain/secrets.js';
import { pointers, useApi } from './harness.js';

const api = useApi();

async function termsOf(tokenId: string): Promise<TokenTerms | undefined> {
  const found = await api.store.lookup(tokenId as never);
  return found.kind === 'found' ? found.token : undefined;
}

describe('POST /api/v1/orgs/{org}/tokens', () => {
  // W9
  test('201: the secret is shown once, and only its digest is kept anywhere', async () => {
    const org = await api.org();
    const made = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'app' });
    const secret = String(made.body['secret']);
    expect([made.status, tokenIdOf(secret)]).toEqual([201, made.body['id']]);
    expect(made.body).toMatchObject({ status: 'active', quota: null, models: null, ip_allow: null, last_four: secret.slice(-4) });
    expect((await termsOf(String(made.body['id'])))?.digest).toBe(digestOf(secret, api.deps.pepper));
    const rows = await api.db.query<{ all: string }>(
      `select (select json_agg(t) from tokens t)::text || (select json_agg(a) from audit_log a)::text
        || coalesce((select json_agg(i) from idempotency_keys i)::text, '') as all`,
    );
    expect(rows[0]?.all).not.toContain(secret.slice(-20));
    const later = await api.call('GET', `/api/v1/orgs/${org}/tokens/${made.body['id']}`);
    expect(later.text).not.toContain(secret.slice(-20));
  });

  test('201: every term reaches the hot store before the answer', async () => {
    const org = await api.org();
    const token = await api.token(org, {
      quota: { amount: '12.5', reset: 'daily' },
      expires_at: '2999-01-01T01:00:00+01:00',
      models: ['gpt-4o*', 'demo'],
      ip_allow: ['10.0.0.0/8', '2001:db8::1'],
      rate: { rpm: 60, tpm: 100_000, concurrency: 2 },
      critical: true,
    });
    expect(await termsOf(token.id)).toMatchObject({
      quotas: [{ window: 'daily', cap: 12_500_000 }],
      expiresAtMs: Date.parse('2999-01-01T00:00:00Z'),
      models: ['gpt-4o*', 'demo'],
      ips: ['10.0.0.0/8', '2001:db8::1'],
      requestsPerMinute: 60,
      tokensPerMinute: 100_000,
      concurrency: 2,
      critical: true,
    });
  });

  test('201: the same Idempotency-Key answers with the same token and secret', async () => {
    const org = await api.org();
    const ask = () => api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'once', quota: 5 }, { 'idempotency-key': 'k1' });
    const [first, second] = await Promise.all([ask(), ask()]);
    expect([first?.status, second?.status]).toEqual([201, 201]);
    expect(second?.body['secret']).toBe(first?.body['secret']);
    expect((await api.call('GET', `/api/v1/orgs/${org}/tokens`)).body['data']).toHaveLength(1);
    const other = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'twice' }, { 'idempotency-key': 'k1' });
    expect(other.status).toBe(422);
  });

  // A17
  test('400: privileges nobody may hand out, and every wrong field at once', async () => {
    const org = await api.org();
    const wrong = await api.call('POST', `/api/v1/orgs/${org}/tokens`, {
      name: 'x',
      quota: -1,
      unlimited: true,
      allowed_routes: ['/*'],
      scopes: ['admin'],
      expires_at: '9999',
      models: ['a b'],
      ip_allow: ['10.0.0.0/40', 'localhost'],
      rate: { rpm: -1, burst: 2 },
    });
    expect(pointers(wrong)).toEqual(
      [
        '/allowed_routes',
        '/expires_at',
        '/ip_allow/0',
        '/ip_allow/1',
        '/models/0',
        '/quota',
        '/rate/burst',
        '/rate/rpm',
        '/scopes',
        '/unlimited',
      ].sort(),
    );
  });

  test.each([
    [{ amount: '1', reset: 'hourly' }, '/quota/reset'],
    [{ amount: -5, reset: 'daily' }, '/quota/amount'],
    [{ reset: 'daily' }, '/quota/amount'],
    ['1e3', '/quota'],
    ['１００', '/quota'],
    [1e30, '/quota'],
    [[], '/quota'],
    [true, '/quota'],
  ])('400: quota %j', async (quota, pointer) => {
    const org = await api.org();
    expect(pointers(await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x', quota }))).toEqual([pointer]);
  });

  test('400: a token that would be born dead', async () => {
    const org = await api.org();
    expect(pointers(await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x', expires_at: '2020-01-01T00:00:00Z' }))).toEqual([
      '/expires_at',
    ]);
  });

  test('404: an organization that is not there', async () => {
    expect((await api.call('POST', '/api/v1/orgs/org_07AAAAAAAAAAAAAA/tokens', { name: 'x' })).status).toBe(404);
  });
});

describe('GET /api/v1/orgs/{org}/tokens', () => {
  test('200: newest first, page by page, by status', async () => {
    const org = await api.org();
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.unshift((await api.token(org)).id);
    await api.call('POST', `/api/v1/orgs/${org}/tokens/${ids[0]}/pause`);
    const first = await api.call('GET', `/api/v1/orgs/${org}/tokens?limit=2`);
    const rest = await api.call('GET', `/api/v1/orgs/${org}/tokens?limit=2&cursor=${first.body['next_cursor']}`);
    const seen = [first, rest].flatMap((page) => (page.body['data'] as unknown as { id: string }[]).map(({ id }) => id));
    expect(seen).toEqual(ids);
    expect(rest.body).toMatchObject({ has_more: false, next_cursor: null });
    const paused = await api.call('GET', `/api/v1/orgs/${org}/tokens?status=paused`);
    expect(paused.body['data']).toHaveLength(1);
  });

  test('404: a foreign token looks exactly like none', async () => {
    const [mine, theirs] = [await api.org(), await api.org()];
    const token = await api.token(theirs);
    const replies = await Promise.all(
      [token.id, 'tok_07AAAAAAAAAAAA', 'nonsense'].map((id) => api.call('GET', `/api/v1/orgs/${mine}/tokens/${id}`)),
    );
    expect(new Set(replies.map(({ status, body }) => `${status} ${body['code']}`))).toEqual(new Set(['404 not_found']));
    for (const [method, end] of [
      ['PATCH', ''],
      ['DELETE', ''],
      ['POST', '/pause'],
      ['POST', '/resume'],
      ['POST', '/rotate'],
    ] as const)
      expect((await api.call(method, `/api/v1/orgs/${mine}/tokens/${token.id}${end}`, {})).status, `${method} ${end}`).toBe(404);
    expect((await termsOf(token.id))?.status).toBe('active');
  });
});

describe('PATCH /api/v1/orgs/{org}/tokens/{token}', () => {
  test('200: what is not named stays, null takes a term away, a new quota replaces the old one', async () => {
    const org = await api.org();
    const { id } = await api.token(org, { quota: 5, models: ['demo'], rate: { rpm: 7 } });
    const path = `/api/v1/orgs/${org}/tokens/${id}`;
    expect((await api.call('PATCH', path, { quota: { amount: 9, reset: 'weekly' }, rate: { tpm: 3 } })).status).toBe(200);
    expect(await termsOf(id)).toMatchObject({
      quotas: [{ window: 'weekly', cap: 9_000_000 }],
      models: ['demo'],
      requestsPerMinute: 7,
      tokensPerMinute: 3,
    });
    await api.call('PATCH', path, { quota: null, models: null, rate: null, name: 'renamed' });
    expect(await termsOf(id)).toMatchObject({ quotas: [], models: null, requestsPerMinute: 0 });
    expect((await api.call('GET', path)).body).toMatchObject({ name: 'renamed', quota: null });
  });

  test('412: two people change one token; the second learns of the first', async () => {
    const org = await api.org();
    const { id } = await api.token(org);
    const path = `/api/v1/orgs/${org}/tokens/${id}`;
    const etag = String((await api.call('GET', path)).headers.get('etag'));
    const replies = await Promise.all([1, 2, 3].map((quota) => api.call('PATCH', path, { quota }, { 'if-match': etag })));
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
    const bad = await api.call('PATCH', path, { quota: 4 }, { 'if-match': 'not quoted' });
    expect(pointers(bad)).toEqual(['If-Match']);
  });

  test('400: digests, owners and versions are not fields', async () => {
    const org = await api.org();
    const { id } = await api.token(org);
    const wrong = await api.call('PATCH', `/api/v1/orgs/${org}/tokens/${id}`, {
      digest: 'a',
      org_id: org,
      status: 'active',
      terms_version: 9,
    });
    expect(pointers(wrong)).toEqual(['/digest', '/org_id', '/status', '/terms_version']);
  });
});

describe('pause, resume, rotate and revoke', () => {
  test('200: each is in force before its answer, and repeating it changes nothing', async () => {
    const org = await api.org();
    const { id } = await api.token(org);
    const path = `/api/v1/orgs/${org}/tokens/${id}`;
    for (const [method, end, status] of [
      ['POST', '/pause', 'paused'],
      ['POST', '/pause', 'paused'],
      ['POST', '/resume', 'active'],
      ['DELETE', '', 'revoked'],
      ['DELETE', '', 'revoked'],
    ] as const) {
      const reply = await api.call(method, path + end);
      expect([reply.status, reply.body['status']]).toEqual([200, status]);
      expect((await termsOf(id))?.status).toBe(status);
    }
    const lines = (await api.call('GET', `/api/v1/admin/audit?org_id=${org}`)).body['data'] as unknown as { action: string }[];
    expect(lines.map(({ action }) => action)).toEqual(['token.revoke', 'token.resume', 'token.pause', 'token.create', 'org.create']);
  });

  test('409: nothing brings a revoked token back', async () => {
    const org = await api.org();
    const { id } = await api.token(org);
    const path = `/api/v1/orgs/${org}/tokens/${id}`;
    await api.call('DELETE', path);
    for (const [method, end] of [
      ['POST', '/resume'],
      ['POST', '/pause'],
      ['POST', '/rotate'],
      ['PATCH', ''],
    ] as const) {
      const reply = await api.call(method, path + end, method === 'PATCH' ? { name: 'again' } : {});
      expect([reply.status, reply.body['code']], end).toEqual([409, 'token_revoked']);
    }
    expect((await termsOf(id))?.status).toBe('revoked');
  });

  test('200: rotation gives a new secret; the old one works on for the grace period only', async () => {
    const org = await api.org();
    const { id, secret } = await api.token(org);
    const path = `/api/v1/orgs/${org}/tokens/${id}/rotate`;
    const soft = await api.call('POST', path, { grace_seconds: 60 });
    const next = String(soft.body['secret']);
    expect([soft.status, tokenIdOf(next), next === secret]).toEqual([200, id, false]);
    const terms = await termsOf(id);
    expect([terms?.digest, terms?.grace?.digest]).toEqual([digestOf(next, api.deps.pepper), digestOf(secret, api.deps.pepper)]);
    expect(terms?.grace?.endsAtMs).toBeGreaterThan(Date.now() + 50_000);
    const hard = await api.call('POST', path, {});
    expect((await termsOf(id))?.grace).toBeNull();
    expect(hard.body['secret']).not.toBe(next);
    for (const grace_seconds of [-1, 1.5, '60', 1e9, null]) expect((await api.call('POST', path, { grace_seconds })).status).toBe(400);
  });
});
