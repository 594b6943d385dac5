import { describe, expect, test } from 'vitest';
import { newOrgId, newRequestId, newTokenId, shardOf } from '../../src/domain/ids.js';
import { balanceOf, createSubject, micro, moveTo, orgTerms, stateOf, subject, tokenTerms } from './builders.js';
import type { Opened } from './opened.js';

const NOT_LOADED = { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };

export function describeLives(under: () => Opened): void {
  describe('lives of the data', () => {
    test('an empty store is absent everywhere and knows nobody: it answers neither 0 nor unlimited', async () => {
      const { store } = under();
      const orgId = newOrgId(30);
      const org = subject(store, orgId, newTokenId(orgId));
      expect(await stateOf(store, '30')).toMatchObject({ state: 'absent' });
      expect(await store.shards()).toHaveLength(64);
      expect(await org.hold(0)).toEqual(NOT_LOADED);
      expect(await org.settle(newRequestId(), 1)).toEqual(NOT_LOADED);
      expect(await org.extend(newRequestId(), 1)).toEqual(NOT_LOADED);
      expect(await org.rehold(newRequestId(), 1)).toEqual(NOT_LOADED);
      expect(await org.applied({})).toEqual(NOT_LOADED);
      expect(await store.lookup(org.tokenId)).toEqual(NOT_LOADED);
      expect(await store.project({ org: orgTerms(orgId) })).toEqual(NOT_LOADED);
      expect(await store.inspect(orgId)).toEqual(NOT_LOADED);
      expect(await store.pending(orgId, [newRequestId()])).toEqual(NOT_LOADED);
      expect(await store.due('30', 10)).toEqual([]);
      expect(await store.entries('30', '', 10)).toEqual([]);
      await expect(store.load('30', [{ terms: orgTerms(orgId), balance: balanceOf(5), tokens: [] }])).rejects.toMatchObject({
        code: 'credits_unavailable',
      });
    });

    test('while it is filled only running requests are taken care of, and then every sum is rebuilt', async () => {
      const { store } = under();
      const orgId = newOrgId(31);
      const tokenId = newTokenId(orgId);
      const org = subject(store, orgId, tokenId);
      await moveTo(store, '31', 'filling');
      const [running, ended, late] = [newRequestId(), newRequestId(), newRequestId()];
      expect(await org.rehold(running, 60, { floor: micro(5) })).toEqual({ kind: 'held' });
      expect(await org.rehold(running, 60, { floor: micro(5) })).toEqual({ kind: 'held' });
      expect(await org.rehold(late, 10)).toEqual({ kind: 'held' });
      expect(await org.settle(ended, 30)).toMatchObject({ kind: 'settled', repeated: false });
      expect(await org.rehold(ended, 50)).toEqual({ kind: 'settled' });
      expect(await org.extend(running, 60, { floor: micro(9) })).toEqual({ kind: 'extended', amount: 60 });
      // What is left is not known, so the hold stays; nobody says that there is no more.
      expect(await org.extend(running, 80)).toEqual({ kind: 'extended', amount: 60 });
      expect(await org.hold(1)).toEqual(NOT_LOADED);
      expect(await org.applied({})).toEqual(NOT_LOADED);
      expect(await store.lookup(tokenId)).toEqual(NOT_LOADED);
      expect(await store.project({ token: tokenTerms(tokenId, orgId, { version: 4, concurrency: 2 }) })).toEqual({ kind: 'projected' });
      const use = { tokenId, used: [] };
      const snapshot = { terms: orgTerms(orgId), balance: balanceOf(200), tokens: [{ terms: tokenTerms(tokenId, orgId), use }] };
      await store.load('31', [snapshot]);
      await store.load('31', [snapshot]);
      await org.settle(late, 1);
      await moveTo(store, '31', 'open');
      expect(await org.state()).toMatchObject({ held: 60, pend: 31, spendable: 109, balance: { avail: 200 } });
      // The projection that came during the reload is newer than what the reload had read.
      expect(await org.hold(1, { tokenVersion: 4 })).toMatchObject({ kind: 'held', remaining: 108 });
      expect(await org.hold(1, { tokenVersion: 4 })).toMatchObject({ kind: 'rate_limited', scope: 'concurrency' });
    });

    test('a reload sets balances, it never adds them, and starts a life with another name', async () => {
      const { store } = under();
      const org = await createSubject(store, { avail: 100, shard: 32 });
      const requestId = newRequestId();
      const settled = await org.settle(requestId, 30);
      const before = await stateOf(store, '32');
      expect(settled).toMatchObject({ epoch: before.epoch });
      expect(await store.pending(org.orgId, [requestId, newRequestId()])).toEqual({
        kind: 'pending',
        ids: [requestId],
        epoch: before.epoch,
      });
      expect(await store.transition('32', before, 'filling')).toBe(true);
      expect(await store.transition('32', before, 'filling')).toBe(false);
      const filling = await stateOf(store, '32');
      expect(filling.state).toBe('filling');
      expect(filling.epoch).not.toBe(before.epoch);
      const use = { tokenId: org.tokenId, used: [] };
      const tokens = [{ terms: tokenTerms(org.tokenId, org.orgId), use }];
      await store.load('32', [{ terms: orgTerms(org.orgId), balance: balanceOf(70, { balanceVersion: 1 }), tokens }]);
      expect(await store.transition('32', before, 'open')).toBe(false);
      expect(await store.transition('32', filling, 'open')).toBe(true);
      expect(await store.transition('32', filling, 'open')).toBe(false);
      expect(await org.state()).toMatchObject({ pend: 30, spendable: 40, balance: { avail: 70 } });
      expect(await store.pending(org.orgId, [requestId])).toMatchObject({ epoch: filling.epoch });
    });

    test('a slow second reload within one life brings back neither spent credits nor forgotten use', async () => {
      const { store } = under();
      const org = await createSubject(store, { shard: 34 });
      const quotas = [{ window: 'total', cap: micro(100) }] as const;
      const snapshot = (avail: number, balanceVersion: number) => {
        const used = [{ window: 'total', amount: micro(balanceVersion * 10), endsAtMs: 0 }] as const;
        const terms = tokenTerms(org.tokenId, org.orgId, { version: 2, quotas });
        const tokens = [{ terms, use: { tokenId: org.tokenId, used } }];
        return [{ terms: orgTerms(org.orgId), balance: balanceOf(avail, { balanceVersion }), tokens }];
      };
      await store.transition('34', await stateOf(store, '34'), 'filling');
      await store.load('34', snapshot(500, 1));
      await store.load('34', snapshot(300, 5));
      await store.load('34', snapshot(400, 4));
      await moveTo(store, '34', 'open');
      expect(await org.state()).toMatchObject({ spendable: 300, balance: { balanceVersion: 5 } });
      expect(await org.hold(51, { tokenVersion: 2 })).toMatchObject({ kind: 'short', scope: 'quota', available: 50 });
      // A new life believes Postgres whatever was there before.
      await store.transition('34', await stateOf(store, '34'), 'filling');
      await store.load('34', snapshot(400, 4));
      await moveTo(store, '34', 'open');
      expect(await org.state()).toMatchObject({ spendable: 400, balance: { balanceVersion: 4 } });
    });

    test('what was read in one life is not dropped in another', async () => {
      const { store, wait } = under();
      const org = await createSubject(store, { shard: 35 });
      await org.settle(newRequestId(), 1);
      const { epoch } = await stateOf(store, '35');
      const cursor = (await store.entries('35', '', 10)).at(-1)?.cursor ?? '';
      await wait(20);
      await store.transition('35', await stateOf(store, '35'), 'filling');
      await store.trim('35', cursor, 0, epoch);
      expect(await store.entries('35', '', 10)).toHaveLength(1);
      await store.trim('35', cursor, 0, (await stateOf(store, '35')).epoch);
      expect(await store.entries('35', '', 10)).toEqual([]);
    });

    test('an organization that Postgres was slow to tell heals with its first balance', async () => {
      const { store } = under();
      await moveTo(store, '33', 'filling');
      const orgId = newOrgId(33);
      const tokenId = newTokenId(orgId);
      const org = subject(store, orgId, tokenId);
      await org.rehold(newRequestId(), 60);
      await org.settle(newRequestId(), 30);
      await moveTo(store, '33', 'open');
      expect(await org.settle(newRequestId(), 1)).toMatchObject({ kind: 'unavailable', reason: 'broken' });
      await store.project({ org: orgTerms(orgId) });
      await store.project({ token: tokenTerms(tokenId, orgId, { concurrency: 1 }) });
      expect(await org.applied({ avail: micro(100) })).toEqual({ kind: 'applied', remaining: 10 });
      expect(await org.state()).toMatchObject({ held: 60, pend: 30, spendable: 10 });
      expect(await org.hold(1)).toMatchObject({ kind: 'rate_limited', scope: 'concurrency' });
      expect(shardOf(orgId)).toBe('33');
    });
  });
}
