import { expect, test } from 'vitest';
import type { Unavailable } from '../../src/credits/store.js';
import { createDrain } from '../../src/ledger/drain.js';
import { reconcileOrg } from '../../src/ledger/reconcileOrg.js';
import { member } from './cast.js';
import { useApi } from './harness.js';
import { requestOf } from './requests.js';

let isAway = false;
const away: Unavailable = { kind: 'unavailable', reason: 'unreachable', maybeDone: false };
const api = useApi({ store: (real) => ({ ...real, inspect: async (orgId) => (isAway ? away : real.inspect(orgId)) }) });

const pathOf = (org: string) => `/api/v1/orgs/${org}/reconciliation`;
const grant = (org: string, credits: number) => api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits, reason: 'test' });
const amount = (credits: string) => ({ credits });

async function hold(org: string, secret: { id: string }, micro: number) {
  const known = await api.store.lookup(secret.id as never);
  if (!('token' in known)) throw new Error('the token should be known');
  const { requestId, ...rest } = {
    ...{ requestId: requestOf({ org, token: secret.id, atMs: Date.now() }).request_id, orgId: org as never, tokenId: secret.id as never },
    ...{ digest: known.token.digest, tokenVersion: known.token.version, orgVersion: known.org.version },
    ...{ amount: micro as never, tokens: 1, leaseMs: 20_000, note: '{}', idempotencyKey: null },
  };
  expect(await api.store.hold({ requestId, ...rest })).toMatchObject({ kind: 'held' });
  return requestId;
}

async function settle(org: string, token: string, cost: number): Promise<void> {
  const breakdown = { lines: [{ meter: 'input' as const, quantity: cost, rate: '1' }], times: '1' };
  const event = requestOf({ org, token, atMs: Date.now(), over: { cost, breakdown } });
  const ids = { requestId: event.request_id, orgId: event.org_id, tokenId: event.token_id };
  await api.store.settle({ ...ids, kind: 'final', cost: cost as never, event: JSON.stringify(event) });
}

test('200: entries, accounts, wallet, month, tokens and hot store side by side, with what is held and what is on its way', async () => {
  const org = await api.org();
  const token = await api.token(org);
  await grant(org, 10);
  await settle(org, token.id, 1_500_000);
  expect(await createDrain({ db: api.db, store: api.store, owner: 'test' }).step()).toMatchObject({ kind: 'drained' });
  await settle(org, token.id, 250_000);
  const running = await hold(org, token, 2_000_000);
  const { status, body, text } = await api.call('GET', pathOf(org));
  expect(status, text).toBe(200);
  expect(body).toMatchObject({
    clean: true,
    differences: [],
    entries: { count: 2, available: amount('8.5'), debt: amount('0') },
    accounts: { available: amount('8.5') },
    projection: { available: amount('8.5') },
    month: { counted: amount('1.5'), days: amount('1.5') },
    tokens: { counted: amount('1.5'), days: amount('1.5') },
    hot_store: { available: amount('8.5'), held: amount('2'), pending: amount('0.25'), spendable: amount('6.25'), pending_requests: 1 },
    holds: { count: 1, data: [{ request_id: running, token_id: token.id, amount: amount('2') }] },
    set_aside: 0,
  });
});

test('200: what does not agree is said in a sentence, each figure as it stands', async () => {
  const org = await api.org();
  const token = await api.token(org);
  await grant(org, 3);
  await api.db.query('update org_balances set avail = avail + 7, month_spent = month_spent + 5 where org_id = $1', [org]);
  await api.db.query('update token_use set total = total + 1 where token_id = $1', [token.id]);
  const { body } = await api.call('GET', pathOf(org));
  expect(body).toMatchObject({
    clean: false,
    entries: { available: { micro: 3_000_000 } },
    projection: { available: { micro: 3_000_007 } },
  });
  const found = body['differences'] as unknown as { check: string; expected: string; found: string; subject: string }[];
  expect(found.map(({ check, expected, found: is }) => [check, expected, is])).toEqual([
    ['balances_equal_entries', '3000000', '3000007'],
    ['month_counters', '0', '5'],
    ['token_counters', '0', '1'],
    ['hot_store_agrees', '3000007', '3000000'],
  ]);
  expect(new Set(found.map(({ subject }) => subject))).toEqual(new Set([org]));
  const neighbour = await api.call('GET', pathOf(await api.org()));
  expect(neighbour.body).toMatchObject({ clean: true });
});

test('200: a hot store that does not answer is a difference, and the books are still compared', async () => {
  const org = await api.org();
  await grant(org, 1);
  isAway = true;
  const { body } = await api.call('GET', pathOf(org)).finally(() => {
    isAway = false;
  });
  expect(body).toMatchObject({
    clean: false,
    hot_store: null,
    holds: { count: 0 },
    entries: { available: amount('1') },
    differences: [{ check: 'hot_store_agrees', expected: 'an answer', found: 'unreachable' }],
  });
});

test('a charge that is booked between two looks is no difference', async () => {
  const org = await api.org();
  const token = await api.token(org);
  await grant(org, 5);
  let looks = 0;
  const between = {
    ...api.store,
    inspect: async (orgId: never) => {
      const seen = await api.store.inspect(orgId);
      if (++looks === 1) {
        await settle(org, token.id, 1_000_000);
        await createDrain({ db: api.db, store: api.store, owner: 'test' }).step();
      }
      return seen;
    },
  };
  const compared = await reconcileOrg({ db: api.db, store: between as never, orgId: org as never });
  expect(compared).toMatchObject({ clean: true, books: { projection: { avail: 4_000_000 } } });
  expect(looks).toBe(2);
});

test('403 without the permission to see credits, 404 for organizations that are not there', async () => {
  const org = await api.org();
  const { as } = await member(api, org, ['logs.read']);
  const refused = await api.call('GET', pathOf(org), undefined, as);
  expect([refused.status, refused.body['required_permission']]).toEqual([403, 'credits.read']);
  expect((await api.call('GET', pathOf(org), undefined, (await member(api, org, 'viewer')).as)).status).toBe(200);
  expect((await api.call('GET', pathOf('org_07AAAAAAAAAAAAAA'))).status).toBe(404);
});
