import { beforeAll, describe, expect, test } from 'vitest';
import { microCredits } from '../../src/domain/credits.js';
import { createDrain } from '../../src/ledger/drain.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { useApi } from './harness.js';
import { requestOf } from './requests.js';

const api = useApi();
const PATH = '/api/v1/admin/set-aside';
let org = '';
let token = '';
const rows = (reply: { body: unknown }) => (reply.body as { data: Record<string, unknown>[] }).data;
const available = async () => (await api.call('GET', `/api/v1/orgs/${org}/balance`)).body['available'];

/** Settles a request whose row Postgres refuses, and lets the drain find that out. */
async function settleAside(over: object, cost = 1_000_000): Promise<string> {
  const event = requestOf({
    org,
    token,
    atMs: Date.now(),
    over: { cost, breakdown: { lines: [{ meter: 'input', quantity: cost, rate: '1' }], times: '1' } },
  });
  const ids = { requestId: event.request_id, orgId: event.org_id, tokenId: event.token_id };
  await api.store.settle({ ...ids, kind: 'final', cost: microCredits(cost), event: JSON.stringify({ ...event, ...over }) });
  const drain = createDrain({ db: api.db, store: api.store, owner: 'test' });
  expect(await drain.step()).toMatchObject({ kind: 'drained' });
  return event.request_id;
}

beforeAll(async () => {
  org = await api.org();
  token = (await api.token(org)).id;
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 10, reason: 'test' });
});

describe('charges that were set aside', () => {
  test('are listed with their event and why, and their credits are neither spent nor free', async () => {
    const request = await settleAside({ latency_ms: 'soon' });
    const open = rows(await api.call('GET', PATH));
    expect(open).toMatchObject([
      { org_id: org, request_id: request, error: expect.stringContaining('soon'), event: { latency_ms: 'soon' } },
    ]);
    expect(await available()).toMatchObject({ credits: '9' });
    expect((await reconcile({ db: api.db, store: api.store })).findings).toMatchObject([{ check: 'nothing_set_aside' }]);
  });

  test('409: one that still cannot be booked stays; dropped, its credits are free again', async () => {
    const [one] = rows(await api.call('GET', PATH));
    const refused = await api.call('POST', `${PATH}/${one?.['id']}/book`);
    expect([refused.status, refused.body['code']]).toEqual([409, 'still_not_bookable']);
    expect((await api.call('POST', `${PATH}/${one?.['id']}/drop`, {})).status).toBe(400);
    const dropped = await api.call('POST', `${PATH}/${one?.['id']}/drop`, { reason: 'ours' });
    expect(dropped.body).toMatchObject({ resolution: 'dropped', resolved_by: 'operator', note: 'ours' });
    expect(await available()).toMatchObject({ credits: '10' });
    expect(await api.store.inspect(org as never)).toMatchObject({ pend: 0, spendable: 10_000_000 });
    expect((await api.call('POST', `${PATH}/${one?.['id']}/book`)).body['code']).toBe('resolved_before');
    expect((await reconcile({ db: api.db, store: api.store })).findings).toEqual([]);
  });

  test('200: booked once its reason is gone, once', async () => {
    const missing = `${token.slice(0, 6)}zzzzzzzzzzzz`;
    const request = await settleAside({ token_id: missing }, 2_000_000);
    const [one] = rows(await api.call('GET', PATH));
    expect(one).toMatchObject({ request_id: request, error: expect.stringContaining('unknown') });
    await api.db.query("insert into tokens (token_id, org_id, name, digest) values ($1, $2, 'found again', $3)", [
      missing,
      org,
      '0'.repeat(64),
    ]);
    const both = await Promise.all([1, 2].map(() => api.call('POST', `${PATH}/${one?.['id']}/book`)));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect(await api.call('GET', `/api/v1/orgs/${org}/balance`)).toMatchObject({
      body: { available: { credits: '8' }, pending: { credits: '0' }, settled: { credits: '8' } },
    });
    const lines = rows(await api.call('GET', `/api/v1/admin/audit?action=aside`));
    expect(lines.map(({ action, subject }) => [action, subject])).toEqual([
      ['aside.booked', request],
      ['aside.dropped', expect.any(String)],
    ]);
    expect(rows(await api.call('GET', PATH))).toEqual([]);
    expect(rows(await api.call('GET', `${PATH}?state=all&limit=1`))).toMatchObject([{ resolution: 'booked' }]);
    expect((await reconcile({ db: api.db, store: api.store })).findings).toEqual([]);
  });

  test('an event that is not even JSON is shown as it came, and may be of nobody', async () => {
    await api.db.query("insert into poison_rows (event, error) values ('{broken', 'why')");
    const [one] = rows(await api.call('GET', PATH));
    expect(one).toMatchObject({ event: '{broken', org_id: null });
    expect((await api.call('POST', `${PATH}/${one?.['id']}/book`)).status).toBe(409);
    expect((await api.call('POST', `${PATH}/${one?.['id']}/drop`, { reason: 'noise' })).status).toBe(200);
    for (const id of ['aside_0', 'aside_99999', '1', 'aside_1;'])
      expect((await api.call('POST', `${PATH}/${id}/book`)).status, id).toBe(404);
  });
});
