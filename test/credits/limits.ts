import { describe, expect, test } from 'vitest';
import { newOrgId, newRequestId, newTokenId } from '../../src/domain/ids.js';
import { createSubject, DAY_MS, DIGEST, micro, orgTerms, tokenTerms } from './builders.js';
import type { Opened } from './opened.js';

const OTHER = 'b'.repeat(64);

export function describeLimits(under: () => Opened): void {
  describe('who may spend', () => {
    test('a token that is not there is unknown, and so is one of another organization or with another secret', async () => {
      const { store } = under();
      const org = await createSubject(store);
      const other = await createSubject(store);
      expect(await store.lookup(newTokenId(org.orgId))).toEqual({ kind: 'unknown_token' });
      expect(await org.hold(1, { tokenId: newTokenId(org.orgId) })).toEqual({ kind: 'unknown_token' });
      expect(await org.hold(1, { tokenId: other.tokenId })).toEqual({ kind: 'unknown_token' });
      expect(await org.hold(1, { digest: OTHER })).toEqual({ kind: 'unknown_token' });
      expect((await org.state()).held).toBe(0);
    });

    test('a look-up gives back the terms exactly as they were projected', async () => {
      const { store } = under();
      const models = ['gpt-*', 'о-кирилица|{"x"}'];
      const org = await createSubject(store, { token: { models, agent: 'a|b\n' }, org: { prices: { 'gpt-*': '0.5' } } });
      expect(await store.lookup(org.tokenId)).toEqual({
        kind: 'found',
        token: tokenTerms(org.tokenId, org.orgId, { models, agent: 'a|b\n' }),
        org: orgTerms(org.orgId, { prices: { 'gpt-*': '0.5' } }),
      });
    });

    test('the previous secret works during its grace, and not after', async () => {
      const { store, nowMs } = under();
      const during = await createSubject(store, { token: { grace: { digest: OTHER, endsAtMs: nowMs() + DAY_MS } } });
      const after = await createSubject(store, { token: { grace: { digest: OTHER, endsAtMs: nowMs() - 5_000 } } });
      expect(await during.hold(1, { digest: OTHER })).toMatchObject({ kind: 'held' });
      expect(await after.hold(1, { digest: OTHER })).toEqual({ kind: 'unknown_token' });
    });

    test('revoked, expired, paused and suspended are told apart, and only to whoever knows the secret', async () => {
      const { store, nowMs } = under();
      const revoked = await createSubject(store, { token: { status: 'revoked' } });
      expect(await revoked.hold(1)).toEqual({ kind: 'token_revoked' });
      expect(await revoked.hold(1, { digest: OTHER })).toEqual({ kind: 'unknown_token' });
      expect(await (await createSubject(store, { token: { expiresAtMs: nowMs() - 5_000 } })).hold(1)).toEqual({ kind: 'token_expired' });
      expect(await (await createSubject(store, { token: { expiresAtMs: nowMs() + DAY_MS } })).hold(1)).toMatchObject({ kind: 'held' });
      expect(await (await createSubject(store, { token: { status: 'paused' } })).hold(1)).toEqual({ kind: 'token_paused' });
      expect(await (await createSubject(store, { org: { status: 'suspended' } })).hold(1)).toEqual({ kind: 'org_suspended' });
    });

    test('a revocation counts for the very next hold, and an older projection cannot undo it', async () => {
      const { store } = under();
      const org = await createSubject(store);
      const revoked = tokenTerms(org.tokenId, org.orgId, { version: 3, status: 'revoked' });
      expect(await store.project({ token: revoked })).toEqual({ kind: 'projected' });
      expect(await store.project({ token: revoked })).toEqual({ kind: 'older' });
      expect(await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 2 }) })).toEqual({ kind: 'older' });
      expect(await org.hold(1)).toEqual({ kind: 'token_revoked' });
    });

    test('what was found of a token holds only until its terms change, and for nobody with another secret', async () => {
      const { store } = under();
      const org = await createSubject(store);
      for (let i = 0; i < 3; i++) expect(await org.hold(1)).toMatchObject({ kind: 'held' });
      expect(await org.hold(1, { digest: OTHER })).toEqual({ kind: 'unknown_token' });
      expect(await org.hold(1, { tokenVersion: 2 })).toMatchObject({ kind: 'stale' });
      const sibling = newTokenId(org.orgId);
      await store.project({ token: tokenTerms(sibling, org.orgId) });
      for (let i = 0; i < 2; i++) expect(await org.hold(1)).toMatchObject({ kind: 'held' });
      await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 2, digest: OTHER }) });
      expect(await org.hold(1)).toEqual({ kind: 'unknown_token' });
      for (let i = 0; i < 2; i++) expect(await org.hold(1, { digest: OTHER, tokenVersion: 2 })).toMatchObject({ kind: 'held' });
      await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 3, digest: OTHER, status: 'paused' }) });
      expect(await org.hold(1, { digest: OTHER, tokenVersion: 2 })).toEqual({ kind: 'token_paused' });
    });

    test('a price made of old terms is stale, and the answer has the new ones', async () => {
      const { store } = under();
      const org = await createSubject(store);
      const token = tokenTerms(org.tokenId, org.orgId, { version: 2, models: ['gpt-*'] });
      const terms = orgTerms(org.orgId, { version: 5, group: 'vip' });
      await store.project({ token });
      expect(await org.hold(1)).toEqual({ kind: 'stale', token, org: orgTerms(org.orgId) });
      await store.project({ org: terms });
      expect(await org.hold(1, { tokenVersion: 2 })).toEqual({ kind: 'stale', token, org: terms });
      expect(await org.hold(1, { tokenVersion: 2, orgVersion: 5 })).toMatchObject({ kind: 'held' });
    });

    test('an organization whose balance nobody has told is never taken for an empty one', async () => {
      const { store } = under();
      const { shard } = await createSubject(store);
      const orgId = newOrgId(Number(shard));
      const tokenId = newTokenId(orgId);
      await store.project({ org: orgTerms(orgId) });
      await store.project({ token: tokenTerms(tokenId, orgId) });
      const org = await createSubject(store);
      expect(await org.hold(0, { orgId, tokenId })).toEqual({ kind: 'unavailable', reason: 'broken', maybeDone: false });
      expect(await org.settle(newRequestId(), 1, { orgId, tokenId })).toEqual({ kind: 'unavailable', reason: 'broken', maybeDone: false });
    });
  });

  describe('how much', () => {
    test('a hold larger than the balance is refused and says what was missing', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      expect(await org.hold(60)).toMatchObject({ kind: 'held', amount: 60, remaining: 40, repeated: false });
      const refusal = { kind: 'short', scope: 'balance', required: 41, available: 40, inFlight: 60, resetsAtMs: 0 };
      expect(await org.hold(41)).toEqual(refusal);
      expect(await org.hold(40)).toMatchObject({ kind: 'held', remaining: 0 });
      expect(await org.state()).toMatchObject({ held: 100, spendable: 0 });
    });

    test('an overdraft counts as spendable, debt does not, and nothing is always affordable', async () => {
      const { store } = under();
      const deep = await createSubject(store, { avail: -50, org: { overdraft: micro(80) } });
      expect(await deep.hold(31)).toMatchObject({ kind: 'short', available: 30 });
      expect(await deep.hold(30)).toMatchObject({ kind: 'held', remaining: 0 });
      const poor = await createSubject(store, { avail: -50 });
      expect(await poor.hold(1)).toMatchObject({ kind: 'short', available: -50 });
      expect(await poor.hold(0)).toMatchObject({ kind: 'held', amount: 0, remaining: 0 });
    });

    test('the largest balance is counted exactly', async () => {
      const org = await createSubject(under().store, { avail: Number.MAX_SAFE_INTEGER });
      expect(await org.hold(999_999_999_999_999)).toMatchObject({ remaining: Number.MAX_SAFE_INTEGER - 999_999_999_999_999 });
      expect(await org.hold(1)).toMatchObject({ remaining: Number.MAX_SAFE_INTEGER - 1_000_000_000_000_000 });
    });

    test('a quota counts use, pending charges and open holds, and starts again when its window ends', async () => {
      const { store, nowMs } = under();
      const quotas = [
        { window: 'total', cap: micro(500) },
        { window: 'daily', cap: micro(100) },
      ] as const;
      const endsAtMs = nowMs() + DAY_MS;
      const used = [
        { window: 'total', amount: micro(300), endsAtMs: 0 },
        { window: 'daily', amount: micro(30), endsAtMs },
      ] as const;
      const org = await createSubject(store, { token: { quotas }, used });
      const first = newRequestId();
      expect(await org.hold(50, { requestId: first })).toMatchObject({ kind: 'held', remaining: 20 });
      await org.settle(first, 40);
      const refusal = { kind: 'short', scope: 'quota', window: 'daily', required: 31, available: 30, inFlight: 0, resetsAtMs: endsAtMs };
      expect(await org.hold(31)).toEqual(refusal);
      expect(await org.hold(30)).toMatchObject({ kind: 'held', remaining: 0 });

      const past = used.map((one) => ({ ...one, endsAtMs: one.window === 'daily' ? nowMs() - 5_000 : 0 }));
      const fresh = await createSubject(store, { token: { quotas }, used: past });
      expect(await fresh.hold(101)).toMatchObject({ kind: 'short', scope: 'quota', available: 100, resetsAtMs: 0 });
      expect(await fresh.hold(100)).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('the monthly limit counts spent, pending and held, and starts again with the month', async () => {
      const { store, nowMs } = under();
      const monthEndsAtMs = nowMs() + DAY_MS;
      const org = await createSubject(store, { org: { limit: micro(200) }, balance: { monthSpent: micro(150), monthEndsAtMs } });
      expect(await org.hold(30)).toMatchObject({ kind: 'held', remaining: 20 });
      expect(await org.hold(21)).toEqual({
        kind: 'short',
        scope: 'limit',
        required: 21,
        available: 20,
        inFlight: 30,
        resetsAtMs: monthEndsAtMs,
      });
      const past = { monthSpent: micro(150), monthEndsAtMs: nowMs() - 5_000 };
      const next = await createSubject(store, { org: { limit: micro(200) }, balance: past });
      expect(await next.hold(200)).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('at the limit non-critical tokens pause, and critical ones go on to their ceiling', async () => {
      const { store } = under();
      const terms = { limit: micro(100), limitAction: 'pause_noncritical', criticalCeiling: micro(150) } as const;
      const plain = await createSubject(store, { org: terms });
      expect(await plain.hold(101)).toMatchObject({ kind: 'short', scope: 'non_critical', available: 100 });
      const critical = await createSubject(store, { org: terms, token: { critical: true } });
      expect(await critical.hold(150)).toMatchObject({ kind: 'held', remaining: 0 });
      expect(await critical.hold(1)).toMatchObject({ kind: 'short', scope: 'limit', available: 0 });
      const same = await createSubject(store, { org: { ...terms, criticalCeiling: null }, token: { critical: true } });
      expect(await same.hold(101)).toMatchObject({ kind: 'short', scope: 'limit', available: 100 });
    });

    test('when several caps say no the quota is named first, then the limit, then the balance', async () => {
      const { store } = under();
      const quotas = [{ window: 'total', cap: micro(10) }] as const;
      const limit = micro(10);
      expect(await (await createSubject(store, { avail: 10, org: { limit }, token: { quotas } })).hold(11)).toMatchObject({
        scope: 'quota',
      });
      expect(await (await createSubject(store, { avail: 10, org: { limit } })).hold(11)).toMatchObject({ scope: 'limit' });
      expect(await (await createSubject(store, { avail: 10 })).hold(11)).toMatchObject({ scope: 'balance' });
    });
  });

  describe('how often', () => {
    test('requests per minute: exactly the limit in any sixty seconds, and the wait is told truthfully', async () => {
      const { store } = under();
      const org = await createSubject(store, { token: { requestsPerMinute: 3 } });
      for (let i = 0; i < 3; i++) expect(await org.hold(1)).toMatchObject({ kind: 'held' });
      const refused = await org.hold(1);
      expect(refused).toMatchObject({ kind: 'rate_limited', scope: 'requests', limit: 3 });
      const { retryAfterMs } = refused as { retryAfterMs: number };
      expect(retryAfterMs).toBeGreaterThan(55_000);
      expect(retryAfterMs).toBeLessThanOrEqual(61_000);
    });

    test('tokens per minute are counted by their bound, and a refused request counts nothing', async () => {
      const { store } = under();
      const org = await createSubject(store, { avail: 100, token: { tokensPerMinute: 100 } });
      expect(await org.hold(1, { tokens: 60 })).toMatchObject({ kind: 'held' });
      expect(await org.hold(1, { tokens: 41 })).toMatchObject({ kind: 'rate_limited', scope: 'tokens', limit: 100 });
      expect(await org.hold(1_000, { tokens: 40 })).toMatchObject({ kind: 'short' });
      expect(await org.hold(1, { tokens: 40 })).toMatchObject({ kind: 'held' });
    });

    test('concurrency counts open holds of the token, however they end', async () => {
      const { store } = under();
      const org = await createSubject(store, { token: { concurrency: 2 } });
      const [first, second] = [newRequestId(), newRequestId()];
      await org.hold(1, { requestId: first });
      await org.hold(1, { requestId: second });
      const refused = await org.hold(1);
      expect(refused).toMatchObject({ kind: 'rate_limited', scope: 'concurrency', limit: 2 });
      await org.settle(first, 1);
      expect(await org.hold(1)).toMatchObject({ kind: 'held' });
      await org.settle(second, 0, { event: null });
      expect(await org.hold(1)).toMatchObject({ kind: 'held' });
      expect(await org.hold(1)).toMatchObject({ kind: 'rate_limited' });
    });

    test('an idempotency key is claimed by the hold that succeeds, for its token only', async () => {
      const { store } = under();
      const org = await createSubject(store, { avail: 100 });
      const idempotencyKey = 'c'.repeat(64);
      expect(await org.hold(101, { idempotencyKey })).toMatchObject({ kind: 'short' });
      const requestId = newRequestId();
      expect(await org.hold(10, { requestId, idempotencyKey })).toMatchObject({ kind: 'held' });
      expect(await org.hold(10, { requestId, idempotencyKey })).toMatchObject({ kind: 'held', repeated: true });
      expect(await org.hold(10, { idempotencyKey })).toEqual({ kind: 'duplicate', requestId });
      expect(await org.hold(10, { idempotencyKey: 'd'.repeat(64) })).toMatchObject({ kind: 'held' });
      expect(await (await createSubject(store)).hold(10, { idempotencyKey })).toMatchObject({ kind: 'held' });
    });
  });

  test('nonsense is refused before any store sees it', async () => {
    const org = await createSubject(under().store);
    for (const amount of [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, 1e15, 2 ** 53, '5' as unknown as number]) {
      await expect(org.hold(amount)).rejects.toMatchObject({ code: 'invalid_credit_command' });
      await expect(org.settle(newRequestId(), amount)).rejects.toMatchObject({ code: 'invalid_credit_command' });
      await expect(org.extend(newRequestId(), amount)).rejects.toMatchObject({ code: 'invalid_credit_command' });
    }
    for (const id of ['', 'req_x', `${newRequestId()}\n`, 'req_{07}:org:*', `${newRequestId()}|1`]) {
      await expect(org.hold(1, { requestId: id as never })).rejects.toMatchObject({ code: 'invalid_credit_command' });
    }
    const elsewhere = newTokenId(newOrgId(8));
    const strange = ['', `${DIGEST}|`, DIGEST.slice(1), undefined, null, 5].map((digest) => ({ digest: digest as string }));
    // Before a token was ever found in order, and after it was.
    const fresh = await createSubject(under().store);
    for (const amount of [1, 2]) {
      for (const wrong of [...strange, { tokenId: elsewhere }, { orgId: newOrgId(8) }, { orgId: '' as never }, { tokenId: '' as never }]) {
        await expect(fresh.hold(amount, wrong)).rejects.toMatchObject({ code: 'invalid_credit_command' });
      }
      expect(await fresh.hold(amount)).toMatchObject({ kind: 'held' });
    }
    await expect(org.store.lookup('tok_07*' as never)).rejects.toMatchObject({ code: 'invalid_credit_command' });
    expect((await org.state()).held).toBe(0);
  });
}
