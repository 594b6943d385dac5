import { describe, expect, test } from 'vitest';
import type { OrgSnapshot } from '../../src/credits/store.js';
import { newOrgId, newRequestId, newTokenId, type OrgId, type TokenId } from '../../src/domain/ids.js';
import { balanceOf, micro, moveTo, orgTerms, stateOf, subject, tokenTerms } from './builders.js';
import type { Opened } from './opened.js';

const NOT_LOADED = { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };

const snapshotOf = (orgId: OrgId, tokenIds: readonly TokenId[], avail: number, balanceVersion = 1): OrgSnapshot => ({
  terms: orgTerms(orgId),
  balance: balanceOf(avail, { balanceVersion }),
  tokens: tokenIds.map((tokenId) => ({ terms: tokenTerms(tokenId, orgId), use: { tokenId, used: [] } })),
});

const named = (orgId: OrgId, ...tokenIds: readonly TokenId[]) => ({ orgId, tokenIds });

/** A shard may open when everybody in it is named; each organization follows when it is loaded. */
export function describeServing(under: () => Opened): void {
  describe('a shard that serves before all of it is loaded', () => {
    const newcomer = (shard: number) => {
      const orgId = newOrgId(shard);
      return subject(under().store, orgId, newTokenId(orgId));
    };

    test('answers for those who are loaded, and knows of nobody else whether they exist or what they have', async () => {
      const { store } = under();
      const [here, late, stranger] = [newcomer(40), newcomer(40), newcomer(40)];
      await moveTo(store, '40', 'filling');
      await store.expect('40', [named(here.orgId, here.tokenId), named(late.orgId, late.tokenId)]);
      await store.load('40', [snapshotOf(here.orgId, [here.tokenId], 100)]);
      await moveTo(store, '40', 'serving');
      expect(await stateOf(store, '40')).toMatchObject({ state: 'open', whole: false });

      expect(await here.hold(60)).toMatchObject({ kind: 'held', remaining: 40 });
      expect(await store.lookup(here.tokenId)).toMatchObject({ kind: 'found' });
      expect(await store.lookup(late.tokenId)).toEqual(NOT_LOADED);
      expect(await late.hold(0)).toEqual(NOT_LOADED);
      expect(await late.applied({})).toEqual(NOT_LOADED);
      expect(await store.inspect(late.orgId)).toEqual(NOT_LOADED);
      // Only of those who are expected it is not known: a token that nobody named does not exist.
      expect(await store.lookup(stranger.tokenId)).toEqual({ kind: 'unknown_token' });
      expect(await stranger.hold(1)).toEqual({ kind: 'unknown_token' });

      await store.load('40', [snapshotOf(late.orgId, [late.tokenId], 50)]);
      expect(await store.lookup(late.tokenId)).toMatchObject({ kind: 'found' });
      expect(await late.hold(51)).toMatchObject({ kind: 'short', available: 50 });
      expect(await late.hold(50)).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('takes care of running requests of those who are expected, and counts them when their turn comes', async () => {
      const { store, wait } = under();
      const late = newcomer(41);
      const [running, ended, lost, swept] = [newRequestId(), newRequestId(), newRequestId(), newRequestId()];
      await moveTo(store, '41', 'filling');
      await store.expect('41', [named(late.orgId, late.tokenId)]);
      expect(await late.rehold(running, 30)).toEqual({ kind: 'held' });
      expect(await late.rehold(swept, 9, { leaseMs: 20 })).toEqual({ kind: 'held' });
      await moveTo(store, '41', 'serving');
      expect(await late.rehold(lost, 20)).toEqual({ kind: 'held' });
      expect(await late.extend(running, 30, { floor: micro(5) })).toEqual({ kind: 'extended', amount: 30 });
      expect(await late.extend(running, 31)).toEqual({ kind: 'extended', amount: 30 });
      expect(await late.settle(ended, 7)).toMatchObject({ kind: 'settled', repeated: false });
      expect(await store.pending(late.orgId, [ended])).toMatchObject({ ids: [ended] });
      await wait(40);
      expect((await store.due('41', 10)).map(({ requestId }) => requestId)).toEqual([swept]);
      expect(await late.settle(swept, 2, { kind: 'floor', ifDue: true })).toMatchObject({ kind: 'settled' });
      await store.load('41', [snapshotOf(late.orgId, [late.tokenId], 100)]);
      expect(await late.state()).toMatchObject({ held: 50, pend: 9, spendable: 41 });
      expect(await late.hold(42)).toMatchObject({ kind: 'short', available: 41, inFlight: 50 });
    });

    test('says once who was asked for, and nothing of those who were loaded meanwhile', async () => {
      const { store } = under();
      const all = [newcomer(42), newcomer(42), newcomer(42)] as const;
      await moveTo(store, '42', 'filling');
      await store.expect(
        '42',
        all.map((one) => named(one.orgId, one.tokenId)),
      );
      expect(await store.wanted('42', 10)).toEqual([]);
      await moveTo(store, '42', 'serving');
      expect(await store.wanted('42', 10)).toEqual([]);
      await all[0].hold(1);
      await all[0].hold(1);
      await store.lookup(all[1].tokenId);
      await store.inspect(all[2].orgId);
      await store.load('42', [snapshotOf(all[2].orgId, [all[2].tokenId], 1)]);
      expect((await store.wanted('42', 10)).toSorted()).toEqual([all[0].orgId, all[1].orgId].toSorted());
      expect(await store.wanted('42', 10)).toEqual([]);
      await all[0].hold(1);
      await all[1].hold(1);
      expect(await store.wanted('42', 1)).toHaveLength(1);
      expect(await store.wanted('42', 1)).toHaveLength(1);
      expect(await store.wanted('42', 1)).toHaveLength(0);
    });

    test('sets nobody a second time: a slow healer changes nothing of who is loaded', async () => {
      const { store } = under();
      const one = newcomer(43);
      await moveTo(store, '43', 'filling');
      await store.expect('43', [named(one.orgId, one.tokenId)]);
      await moveTo(store, '43', 'serving');
      await store.load('43', [snapshotOf(one.orgId, [one.tokenId], 100)]);
      expect(await one.hold(100)).toMatchObject({ kind: 'held' });
      await store.load('43', [snapshotOf(one.orgId, [one.tokenId], 900, 9)]);
      expect(await one.state()).toMatchObject({ held: 100, spendable: 0, balance: { avail: 100 } });
    });

    test('is told of whoever came after everybody was named, and whose balance was never told', async () => {
      const { store } = under();
      const [other, one] = [newcomer(51), newcomer(51)];
      await moveTo(store, '51', 'filling');
      await store.expect('51', [named(other.orgId, other.tokenId)]);
      await store.project({ org: orgTerms(one.orgId) });
      await store.project({ token: tokenTerms(one.tokenId, one.orgId) });
      await moveTo(store, '51', 'serving');
      expect(await one.hold(1)).toMatchObject({ kind: 'unavailable', reason: 'broken' });
      await store.load('51', [snapshotOf(one.orgId, [one.tokenId], 5)]);
      expect(await one.hold(5)).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('is not told what was read in another life of the data: it would be open with credits that are spent', async () => {
      const { store } = under();
      const one = newcomer(50);
      await moveTo(store, '50', 'filling');
      const { epoch } = await stateOf(store, '50');
      await store.transition('50', await stateOf(store, '50'), 'filling');
      await store.expect('50', [named(one.orgId, one.tokenId)]);
      await moveTo(store, '50', 'serving');
      const { epoch: now } = await stateOf(store, '50');
      await expect(store.load('50', [snapshotOf(one.orgId, [one.tokenId], 900)], epoch)).rejects.toMatchObject({
        code: 'credits_unavailable',
      });
      expect(await one.hold(1)).toEqual(NOT_LOADED);
      await store.load('50', [snapshotOf(one.orgId, [one.tokenId], 100, 2)], now);
      expect(await one.state()).toMatchObject({ spendable: 100 });
    });

    test('takes what an organization may do while it is expected, and what is older does not replace it', async () => {
      const { store } = under();
      const one = newcomer(44);
      const second = newTokenId(one.orgId);
      await moveTo(store, '44', 'filling');
      await store.expect('44', [named(one.orgId, one.tokenId)]);
      await moveTo(store, '44', 'serving');
      expect(await store.project({ org: orgTerms(one.orgId, { version: 3, status: 'suspended' }) })).toEqual({ kind: 'projected' });
      // A token that was made after everybody was named: it is known, its organization is not yet.
      expect(await store.project({ token: tokenTerms(second, one.orgId) })).toEqual({ kind: 'projected' });
      expect(await store.lookup(second)).toEqual(NOT_LOADED);
      expect(await one.hold(0, { tokenId: second })).toEqual(NOT_LOADED);
      await store.load('44', [snapshotOf(one.orgId, [one.tokenId], 100)]);
      expect(await one.hold(1, { orgVersion: 3 })).toEqual({ kind: 'org_suspended' });
      expect(await store.lookup(second)).toMatchObject({ kind: 'found', org: { version: 3 } });
    });

    test('an organization with more tokens than one step takes opens with the last of them', async () => {
      const { store } = under();
      const one = newcomer(45);
      const tokens = Array.from({ length: 230 }, () => newTokenId(one.orgId));
      await moveTo(store, '45', 'filling');
      await store.expect('45', [named(one.orgId, ...tokens)]);
      await moveTo(store, '45', 'serving');
      expect(await store.lookup(tokens[229] as TokenId)).toEqual(NOT_LOADED);
      await store.load('45', [snapshotOf(one.orgId, tokens, 100)]);
      for (const tokenId of [tokens[0], tokens[99], tokens[100], tokens[229]] as TokenId[]) {
        expect(await one.hold(1, { tokenId }), tokenId).toMatchObject({ kind: 'held' });
      }
    });

    test('moves only from being filled to serving, and from there to open; what was told of another life opens nothing', async () => {
      const { store } = under();
      const one = newcomer(46);
      await moveTo(store, '46', 'filling');
      await store.expect('46', [named(one.orgId, one.tokenId)]);
      const filling = await stateOf(store, '46');
      expect(await store.transition('46', filling, 'serving')).toBe(true);
      expect(await store.transition('46', filling, 'serving')).toBe(false);
      expect(await store.transition('46', filling, 'open')).toBe(false);
      const serving = await stateOf(store, '46');
      expect(serving).toMatchObject({ state: 'open', whole: false, epoch: filling.epoch });
      expect(await store.transition('46', serving, 'serving')).toBe(false);
      await expect(store.expect('46', [named(one.orgId)])).rejects.toMatchObject({ code: 'credits_unavailable' });
      expect(await store.transition('46', serving, 'open')).toBe(true);
      expect(await stateOf(store, '46')).toMatchObject({ state: 'open', whole: true });
      // Postgres knows nobody by that name: whoever loaded all there are says so by opening it.
      expect(await store.lookup(one.tokenId)).toEqual({ kind: 'unknown_token' });
      expect(await store.wanted('46', 10)).toEqual([]);
      await expect(store.load('46', [snapshotOf(one.orgId, [one.tokenId], 1)])).rejects.toMatchObject({ code: 'credits_unavailable' });

      expect(await store.transition('46', await stateOf(store, '46'), 'filling')).toBe(true);
      expect(await store.transition('46', serving, 'open')).toBe(false);
      expect((await stateOf(store, '46')).state).toBe('filling');
    });

    test('in which nobody was named yet nobody is known to be loaded', async () => {
      const { store } = under();
      const one = newcomer(47);
      await moveTo(store, '47', 'filling');
      await store.load('47', [snapshotOf(one.orgId, [one.tokenId], 100)]);
      await moveTo(store, '47', 'serving');
      expect(await one.hold(1)).toEqual(NOT_LOADED);
      expect(await store.lookup(one.tokenId)).toEqual(NOT_LOADED);
      await store.load('47', [snapshotOf(one.orgId, [one.tokenId], 100)]);
      await moveTo(store, '47', 'open');
      expect(await one.hold(1)).toMatchObject({ kind: 'held' });
    });

    test('names of another shard or that are no names are refused before anything is written', async () => {
      const { store } = under();
      const [one, other] = [newcomer(48), newcomer(49)];
      await moveTo(store, '48', 'filling');
      for (const wrong of [
        named(other.orgId),
        named(one.orgId, other.tokenId),
        named('org_48' as OrgId),
        named(one.orgId, 'tok_x' as TokenId),
      ]) {
        await expect(store.expect('48', [named(one.orgId, one.tokenId), wrong])).rejects.toMatchObject({ code: 'invalid_credit_command' });
      }
      await moveTo(store, '48', 'serving');
      expect(await store.lookup(newcomer(48).tokenId)).toEqual(NOT_LOADED); // still nobody was named
      await moveTo(store, '48', 'open');
    });
  });
}
