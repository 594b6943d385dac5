import { describe, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import type { CreditStore, Unavailable } from '../../src/credits/store.js';
import { openDatabase } from '../../src/db/client.js';
import { freePort } from '../support/server.js';
import { OPERATOR_KEY, useApi } from './harness.js';

const away: Unavailable = { kind: 'unavailable', reason: 'unreachable', maybeDone: false };
let isAway = false;
const api = useApi({
  store: (real): CreditStore => ({
    ...real,
    project: async (terms) => (isAway ? away : real.project(terms)),
    inspect: async (orgId) => (isAway ? away : real.inspect(orgId)),
  }),
  reconcile: async () => ({ clean: false, checked: { accounts: 3 }, findings: [{ kind: 'drift' }] }),
});

describe('when the hot store is away', () => {
  test('503: a change is kept, but nobody is told that it is in force; repeating it finishes it', async () => {
    const org = await api.org();
    const headers = { 'idempotency-key': 'away-1' };
    isAway = true;
    const first = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x' }, headers);
    expect([first.status, first.body['code'], first.headers.get('retry-after')]).toEqual([503, 'not_in_force_yet', '2']);
    expect(first.text).not.toContain('sk-fb-');
    const balance = await api.call('GET', `/api/v1/orgs/${org}/balance`);
    expect(balance.body).toMatchObject({ live: false });
    isAway = false;
    const second = await api.call('POST', `/api/v1/orgs/${org}/tokens`, { name: 'x' }, headers);
    expect(second.status).toBe(201);
    expect((await api.store.lookup(second.body['id'] as never)).kind).toBe('found');
  });
});

describe('when Postgres is away', () => {
  test('503: a sentence, and nothing of what the driver said', async () => {
    const port = await freePort();
    const db = openDatabase({ url: `postgres://user:hunter22@127.0.0.1:${port}/nowhere`, max: 1, timeoutMs: 2_000 });
    const app = createApi({ ...api.deps, db });
    const response = await app.request('http://farebox.test/api/v1/admin/orgs', { headers: { authorization: `Bearer ${OPERATOR_KEY}` } });
    const text = await response.text();
    expect([response.status, JSON.parse(text).code]).toEqual([503, 'database_unavailable']);
    expect(text).not.toMatch(/hunter22|ECONNREFUSED|127\.0\.0\.1|postgres/i);
    await db.close();
  });

  // C17
  test('500: what was not expected stays inside', async () => {
    const broken = {
      ...api.deps.ledger,
      reconcile: () => Promise.reject(new Error('relation "secret_table" does not exist at /srv/x.ts')),
    };
    const app = createApi({ ...api.deps, ledger: broken });
    const response = await app.request('http://farebox.test/api/v1/admin/reconciliation', {
      headers: { authorization: `Bearer ${OPERATOR_KEY}` },
    });
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(text).not.toMatch(/secret_table|srv|stack/);
  });
});

describe('GET /api/v1/admin/reconciliation', () => {
  test('200: what the ledger found', async () => {
    const reply = await api.call('GET', '/api/v1/admin/reconciliation');
    expect(reply.body).toEqual({ clean: false, checked: { accounts: 3 }, findings: [{ kind: 'drift' }] });
  });
});
