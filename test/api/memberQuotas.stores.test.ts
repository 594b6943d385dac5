import { beforeAll, describe, expect, test } from 'vitest';
import { addMember } from '../../src/accounts/roles/members.js';
import { newRequestId } from '../../src/domain/ids.js';
import type { MeterPrice } from '../../src/domain/prices.js';
import { signedIn, useApi } from './harness.js';

const api = useApi({
  meters: [
    { critical: true, free: false, stepSeconds: 0, per: 1, name: 'kb_query', label: 'Query', unit: 'query', amount: '1' } as MeterPrice,
  ],
});
const PERSON = 'usr_019ab0f4c2d87c3ea1b2c3d4e5f60718';
let org: string;
let path: string;

beforeAll(async () => {
  org = await api.org();
  path = `/api/v1/orgs/${org}`;
  await api.call('POST', `/api/v1/admin/orgs/${org}/grants`, { credits: 1_000, reason: 'test' });
  const ctx = { ...api.deps, actor: { kind: 'system', part: 'test' } as const };
  await addMember({ ctx, orgId: org as never, personId: PERSON, roleId: 'developer' });
});

const quota = (credits: string | null) => api.call('PATCH', `${path}/members/${PERSON}`, { monthly_quota: credits });

async function ownToken(): Promise<string> {
  const key = { 'idempotency-key': newRequestId() };
  const made = await api.call('POST', `${path}/tokens`, { name: 'app' }, { ...signedIn(PERSON), ...key });
  expect(made.status, made.text).toBe(201);
  return String(made.body['id']);
}

async function hold(tokenId: string, credits: number) {
  const known = await api.store.lookup(tokenId as never);
  if (known.kind !== 'found') throw new Error(known.kind);
  const { token } = known;
  const [requestId, orgId] = [newRequestId(), token.orgId];
  const versions = { digest: token.digest, tokenVersion: token.version, orgVersion: known.org.version };
  const rest = { tokens: 1, leaseMs: 20_000, note: '{}', idempotencyKey: null };
  const amount = (credits * 1_000_000) as never;
  const held = await api.store.hold({ requestId, orgId, tokenId: token.tokenId, amount, ...versions, ...rest });
  await api.store.settle({ requestId, orgId, tokenId: token.tokenId, kind: 'final', cost: 0 as never, event: null });
  return held;
}

describe('the monthly quota of a member', () => {
  test('200: is in force for the very next request of each of their tokens, and shows what is left', async () => {
    const [first, second] = [await ownToken(), await ownToken()];
    await api.db.query("update token_use set monthly = 2000000, monthly_ends_at = month_end(now(), 'UTC') where token_id = $1", [first]);
    const set = await quota('5');
    expect(set.status, set.text).toBe(200);
    expect(set.body).toMatchObject({
      monthly_quota: { credits: '5' },
      month_spent: { credits: '2' },
      monthly_quota_remaining: { credits: '3' },
    });
    for (const token of [first, second, await ownToken()]) {
      expect(await hold(token, 4)).toMatchObject({ kind: 'short', scope: 'member', available: 3_000_000 });
      expect(await hold(token, 3)).toMatchObject({ kind: 'held' });
    }
    expect((await quota(null)).body).toMatchObject({ monthly_quota: null, monthly_quota_remaining: null });
    expect(await hold(second, 4)).toMatchObject({ kind: 'held' });
  });

  test('the ETag of a new token holds, although its terms name the others', async () => {
    await quota('50');
    const token = await ownToken();
    const etag = (await api.call('GET', `${path}/tokens/${token}`)).headers.get('etag') ?? '';
    await ownToken();
    const changed = await api.call('PATCH', `${path}/tokens/${token}`, { quota: 4 }, { 'if-match': etag });
    expect(changed.status, changed.text).toBe(200);
    await quota(null);
  });

  test('402: what is reported from elsewhere counts in it like a request', async () => {
    const token = await ownToken();
    await quota('4');
    const send = (quantity: number) =>
      api.call('POST', `${path}/meter-events`, {
        events: [{ event_id: newRequestId(), action: 'kb_query', quantity, token_id: token }],
      });
    const refused = await send(5);
    expect([refused.status, refused.body['code']], refused.text).toEqual([402, 'member_quota_exceeded']);
    expect(refused.body).toMatchObject({ limit_source: 'member', resolve_url: expect.stringContaining('reason=member_quota') });
    await quota(null);
  });

  test('409: no more than a hundred tokens share one; the message says what to do', async () => {
    await quota('9');
    const { count } = (await api.db.one<{ count: number }>('select quota_token_count($1, $2) as count', [org, PERSON])) ?? { count: 0 };
    await api.db.query(
      `insert into tokens (token_id, org_id, owner_id, name, digest)
       select 'tok_' || substr($1, 5, 2) || lpad(n::text, 12, '0'), $1, $2, 'bulk', repeat('0', 64) from generate_series(1, $3) n`,
      [org, PERSON, 100 - count],
    );
    const key = { 'idempotency-key': newRequestId() };
    const full = await api.call('POST', `${path}/tokens`, { name: 'app' }, { ...signedIn(PERSON), ...key });
    expect([full.status, full.body['code'], full.body['detail']]).toEqual([409, 'too_many_tokens', expect.stringMatching(/Revoke some/)]);
    expect((await api.call('POST', `${path}/tokens`, { name: 'not theirs' })).status).toBe(201);
    await quota(null);
    await ownToken();
    expect((await quota('9')).body['code']).toBe('too_many_tokens');
  });
});
