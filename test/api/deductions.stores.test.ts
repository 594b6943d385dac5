import { describe, expect, test } from 'vitest';
import { microCredits } from '../../src/domain/credits.js';
import { newRequestId, type OrgId, type TokenId } from '../../src/domain/ids.js';
import { reconcile } from '../../src/ledger/reconcile.js';
import { pointers, type Rig, useApi } from './harness.js';

const api = useApi();
const deduct = (org: string, body: object, headers: Record<string, string> = {}) =>
  api.call('POST', `/api/v1/admin/orgs/${org}/deductions`, body, headers);
const grant = async (org: string, credits: number, more: object = {}) => {
  const made = await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits, reason: 'test', ...more });
  expect(made.status, made.text).toBe(201);
  return made.body;
};
const balance = async (org: string) => (await api.call('GET', `/api/v1/orgs/${org}/balance`)).body;

/** Sets credits aside as a running request does. */
async function hold({ store }: Rig, org: string, token: string, credits: number) {
  const known = await store.lookup(token as TokenId);
  if (known.kind !== 'found') throw new Error(known.kind);
  const requestId = newRequestId();
  const versions = { digest: known.token.digest, tokenVersion: known.token.version, orgVersion: known.org.version };
  const ids = { requestId, orgId: org as OrgId, tokenId: token as TokenId };
  const amount = microCredits(credits * 1_000_000);
  return store.hold({ ...ids, ...versions, amount, tokens: 1, leaseMs: 20_000, note: '{}', idempotencyKey: null });
}

describe('POST /api/v1/admin/orgs/{org}/deductions', () => {
  test('201: credits are gone at once, from the grants in the order in which they are used up', async () => {
    const org = await api.org();
    await grant(org, 10);
    const gift = await grant(org, 5, { kind: 'goodwill' });
    const taken = await deduct(org, { credits: 7, reason: 'refunded outside' });
    expect(taken.status, taken.text).toBe(201);
    expect(taken.body).toMatchObject({ id: expect.stringMatching(/^tx_\d+$/), reason: 'refunded outside', available: { credits: '8' } });
    expect(taken.body['from']).toMatchObject([
      { grant_id: gift['id'], amount: { credits: '5' } },
      { grant_id: expect.any(String), amount: { credits: '2' } },
    ]);
    expect(await api.store.inspect(org as never)).toMatchObject({ spendable: 8_000_000, held: 0 });
    const lines = (await api.call('GET', `/api/v1/admin/audit?org_id=${org}&action=credits.deduct`)).body['data'];
    expect(lines).toMatchObject([{ actor: 'operator', details: { micro: 7_000_000, reason: 'refunded outside' } }]);
  });

  test('201: of one grant alone when it is named', async () => {
    const org = await api.org();
    const [first, second] = [await grant(org, 3), await grant(org, 4, { kind: 'goodwill' })];
    const wrong = await deduct(org, { credits: 3.5, reason: 'x', grant_id: first['id'] });
    expect([wrong.status, wrong.body['code'], wrong.body['available']]).toMatchObject([409, 'more_than_available', { credits: '3' }]);
    expect((await deduct(org, { credits: 3, reason: 'x', grant_id: first['id'] })).status).toBe(201);
    expect((await balance(org))['by_bucket']).toMatchObject([{ id: second['id'], remaining: { credits: '4' } }]);
    expect(pointers(await deduct(org, { credits: 1, reason: 'x', grant_id: 'grant_999999' }))).toEqual(['/grant_id']);
    expect(pointers(await deduct(org, { credits: 1, reason: 'x', grant_id: '1 or 1=1' }))).toEqual(['/grant_id']);
  });

  test('409: never more than there is, and never what running requests have set aside', async () => {
    const org = await api.org();
    const token = await api.token(org);
    await grant(org, 10);
    await api.call('PATCH', `/api/v1/admin/orgs/${org}`, { overdraft: 100 });
    expect((await deduct(org, { credits: '10.000001', reason: 'x' })).body).toMatchObject({ available: { credits: '10' } });
    expect(await hold(api, org, token.id, 6)).toMatchObject({ kind: 'held' });
    const short = await deduct(org, { credits: '4.000001', reason: 'x' });
    expect([short.status, short.body['available']]).toMatchObject([409, { credits: '4' }]);
    expect((await deduct(org, { credits: 4, reason: 'x' })).status).toBe(201);
    expect(await balance(org)).toMatchObject({ available: { credits: '0' }, in_flight: { credits: '6' }, debt: { credits: '0' } });
  });

  test('201: the same Idempotency-Key takes once, however many ask, also when nothing is left', async () => {
    const org = await api.org();
    await grant(org, 5);
    const ask = () => deduct(org, { credits: 5, reason: 'all' }, { 'idempotency-key': 'd-1' });
    const replies = await Promise.all([ask(), ask(), ask()]);
    replies.push(await ask());
    // Those who ask while the first is at work may find the credits set aside; nobody takes them twice.
    expect(replies.filter(({ status }) => status === 201).length).toBeGreaterThan(1);
    expect(new Set(replies.flatMap(({ status, body }) => (status === 201 ? [body['id']] : []))).size).toBe(1);
    expect(await balance(org)).toMatchObject({ available: { credits: '0' }, debt: { credits: '0' } });
    expect((await deduct(org, { credits: 4, reason: 'all' }, { 'idempotency-key': 'd-1' })).status).toBe(422);
  });

  test('requests and deductions that race never promise a credit twice', async () => {
    const org = await api.org();
    const token = await api.token(org);
    await grant(org, 40);
    const works = Array.from({ length: 60 }, (_, i) =>
      i % 2
        ? deduct(org, { credits: 1, reason: `race ${i}` }).then(({ status }) => status === 201)
        : hold(api, org, token.id, 1).then((one) => one.kind === 'held'),
    );
    const won = (await Promise.all(works)).filter(Boolean).length;
    expect(won).toBeLessThanOrEqual(40);
    const state = await balance(org);
    expect(state).toMatchObject({ debt: { credits: '0' }, available: { micro: (40 - won) * 1_000_000 } });
  });

  test('400, 404: amounts, reasons and organizations that are none', async () => {
    const org = await api.org();
    for (const credits of [0, -1, '1e3', null, 'all', '0.0000001'])
      expect(pointers(await deduct(org, { credits, reason: 'x' })), String(credits)).toEqual(['/credits']);
    expect(pointers(await deduct(org, { credits: 1, to: 'me' }))).toEqual(['/reason', '/to']);
    expect((await deduct('org_07AAAAAAAAAAAAAA', { credits: 1, reason: 'x' })).status).toBe(404);
  });

  test('after all of this the books are clean', async () => {
    expect((await reconcile({ db: api.db, store: api.store })).findings).toEqual([]);
  });
});

describe('what somebody paid for', () => {
  test('manual grants count as paid unless said otherwise; gifts and trials never do', async () => {
    const org = await api.org();
    expect(await grant(org, 1)).toMatchObject({ kind: 'manual', category: 'paid' });
    expect(await grant(org, 1, { category: 'promo' })).toMatchObject({ kind: 'manual', category: 'promo' });
    expect(await grant(org, 1, { kind: 'trial' })).toMatchObject({ kind: 'trial', category: 'promo' });
    const wrong = await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, {
      credits: 1,
      reason: 'x',
      kind: 'goodwill',
      category: 'paid',
    });
    expect(pointers(wrong)).toEqual(['/category']);
    const sources = await api.db.query<{ kind: string; taken: number }>(
      `select a.kind, -e.amount as taken from ledger_entries e join ledger_accounts a on a.id = e.account_id join ledger_txs t on t.id = e.tx_id
       where t.org_id = $1 and a.org_id is null order by e.id`,
      [org],
    );
    expect(sources.map(({ kind }) => kind)).toEqual(['cash:manual', 'promo', 'promo']);
  });
});
