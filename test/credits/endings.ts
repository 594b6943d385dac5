import { describe, expect, test } from 'vitest';
import { newRequestId } from '../../src/domain/ids.js';
import { createSubject, micro, type Subject, tokenTerms } from './builders.js';
import type { Opened } from './opened.js';

export function describeEndings(under: () => Opened): void {
  const entriesOf = async (org: Subject) => (await org.store.entries(org.shard, '', 10_000)).filter((one) => one.orgId === org.orgId);

  describe('ends', () => {
    test('repeating a hold takes credits once and gives the first answer', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      expect(await org.hold(60, { requestId })).toMatchObject({ kind: 'held', amount: 60, remaining: 40, repeated: false });
      expect(await org.hold(60, { requestId })).toMatchObject({ kind: 'held', amount: 60, remaining: 40, repeated: true });
      expect(await org.hold(99, { requestId })).toMatchObject({ kind: 'held', amount: 60, repeated: true });
      expect(await org.state()).toMatchObject({ held: 60, pend: 0, spendable: 40 });
    });

    test('a charge takes what was used and gives the rest back', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.hold(60, { requestId });
      expect(await org.settle(requestId, 25)).toMatchObject({ kind: 'settled', remaining: 75, repeated: false });
      expect(await org.state()).toMatchObject({ held: 0, pend: 25, spendable: 75, holds: [] });
      expect(await entriesOf(org)).toMatchObject([{ requestId, kind: 'final', cost: 25, event: '{"cost":25}' }]);
      expect(await org.hold(60, { requestId })).toEqual({ kind: 'settled' });
    });

    test('a second final changes nothing, whatever it says', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.settle(requestId, 25);
      expect(await org.settle(requestId, 25)).toMatchObject({ kind: 'settled', repeated: true });
      expect(await org.settle(requestId, 99)).toMatchObject({ kind: 'settled', remaining: 75, repeated: true });
      expect(await org.settle(requestId, 99, { kind: 'floor' })).toMatchObject({ repeated: true });
      expect(await org.settle(requestId, 0, { event: null })).toMatchObject({ repeated: true });
      expect(await org.state()).toMatchObject({ pend: 25 });
      expect(await entriesOf(org)).toHaveLength(1);
    });

    test('the larger floor wins, and a final replaces it even when it is smaller', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.settle(requestId, 10, { kind: 'floor' });
      await org.settle(requestId, 30, { kind: 'floor' });
      await org.settle(requestId, 20, { kind: 'floor' });
      expect((await org.state()).pend).toBe(30);
      await org.settle(requestId, 5);
      expect(await org.state()).toMatchObject({ pend: 5, spendable: 95 });
      expect((await entriesOf(org)).map(({ kind, cost }) => [kind, cost])).toEqual([
        ['floor', 10],
        ['floor', 30],
        ['final', 5],
      ]);
    });

    test('a hold given back leaves no trace and no row', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.hold(60, { requestId });
      expect(await org.settle(requestId, 0, { event: null })).toMatchObject({ kind: 'settled', remaining: 100, repeated: false });
      expect(await org.settle(requestId, 0, { event: null })).toMatchObject({ kind: 'settled', repeated: true });
      expect(await org.state()).toMatchObject({ held: 0, pend: 0, holds: [], pending: [] });
      expect(await entriesOf(org)).toEqual([]);
    });

    test('a charge beyond the hold may go below zero, and then nothing more is held', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.hold(60, { requestId });
      expect(await org.settle(requestId, 130)).toMatchObject({ kind: 'settled', remaining: 0 });
      expect((await org.state()).spendable).toBe(-30);
      expect(await org.hold(1)).toMatchObject({ kind: 'short', available: -30 });
    });

    test('extending raises hold and floor, never lowers them, and says when there is no more', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.hold(60, { requestId });
      expect(await org.extend(requestId, 90, { floor: micro(20), note: '{"at":20}' })).toEqual({ kind: 'extended', amount: 90 });
      expect(await org.extend(requestId, 10, { floor: micro(5), note: '{"at":5}' })).toEqual({ kind: 'extended', amount: 90 });
      expect(await org.extend(requestId, 101, { floor: micro(30), note: '{"at":30}' })).toEqual({ kind: 'short', amount: 90 });
      expect((await org.state()).holds).toMatchObject([{ requestId, amount: 90, floor: 30, note: '{"at":30}' }]);
      expect((await org.state()).held).toBe(90);
      await org.settle(requestId, 1);
      expect(await org.extend(requestId, 90)).toEqual({ kind: 'gone' });
      expect(await org.extend(newRequestId(), 1)).toEqual({ kind: 'gone' });
    });

    test('a quota that comes while requests run counts them, and lets go of them when they end', async () => {
      const { store } = under();
      const org = await createSubject(store, { avail: 1_000 });
      const [running, ended, late] = [newRequestId(), newRequestId(), newRequestId()];
      await org.hold(60, { requestId: running });
      await org.hold(50, { requestId: late });
      await org.settle(ended, 30);
      const quotas = [{ window: 'total', cap: micro(200) }] as const;
      const limited = { quotas, concurrency: 3 };
      await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 2, ...limited }) });
      expect(await org.hold(61, { tokenVersion: 2 })).toMatchObject({ kind: 'short', scope: 'quota', available: 60, inFlight: 110 });
      expect(await org.settle(running, 10)).toMatchObject({ kind: 'settled', remaining: 110 });
      // Without any rule nothing of the token is counted; a new one starts from what is running and pending by then.
      await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 3 }) });
      const more = newRequestId();
      await org.hold(20, { requestId: more, tokenVersion: 3 });
      await org.settle(late, 5);
      await store.project({ token: tokenTerms(org.tokenId, org.orgId, { version: 4, ...limited }) });
      expect(await org.hold(136, { tokenVersion: 4 })).toMatchObject({ kind: 'short', scope: 'quota', available: 135, inFlight: 20 });
      for (let i = 0; i < 2; i++) expect(await org.hold(1, { tokenVersion: 4 })).toMatchObject({ kind: 'held' });
      expect(await org.hold(1, { tokenVersion: 4 })).toMatchObject({ kind: 'rate_limited', scope: 'concurrency' });
      expect(await org.settle(more, 20)).toMatchObject({ kind: 'settled', remaining: 133 });
      expect(await org.hold(1, { tokenVersion: 4 })).toMatchObject({ kind: 'held' });
    });

    test('a request of one token cannot be ended in the name of another', async () => {
      const { store } = under();
      const org = await createSubject(store);
      const other = await createSubject(store);
      const requestId = newRequestId();
      await org.hold(60, { requestId });
      const broken = { kind: 'unavailable', reason: 'broken', maybeDone: false };
      expect(await org.settle(requestId, 1, { tokenId: other.tokenId })).toEqual(broken);
      expect(await org.extend(requestId, 90, { tokenId: other.tokenId })).toEqual(broken);
      expect((await org.state()).held).toBe(60);
    });
  });

  describe('the sweep', () => {
    test('lists what has run out, oldest first', async () => {
      const { store, wait } = under();
      const org = await createSubject(store, { avail: 100, shard: 11 });
      const [late, early, running] = [newRequestId(), newRequestId(), newRequestId()];
      await org.hold(10, { requestId: late, leaseMs: 40, note: '{"who":"late"}' });
      await org.hold(20, { requestId: early, leaseMs: 1, note: '{"who":"early"}' });
      await org.hold(30, { requestId: running, leaseMs: 600_000 });
      await wait(100);
      const due = await store.due(org.shard, 100);
      expect(due.map(({ requestId, amount, note }) => [requestId, amount, note])).toEqual([
        [early, 20, '{"who":"early"}'],
        [late, 10, '{"who":"late"}'],
      ]);
      expect(await store.due(org.shard, 1)).toHaveLength(1);
    });

    test('charges a floor only when the lease has really run out by then', async () => {
      const { store, wait } = under();
      const org = await createSubject(store, { avail: 100, shard: 15 });
      const [renewed, running] = [newRequestId(), newRequestId()];
      await org.hold(10, { requestId: renewed, leaseMs: 1 });
      await org.hold(20, { requestId: running, leaseMs: 600_000 });
      await wait(20);
      expect(await store.due(org.shard, 10)).toMatchObject([{ requestId: renewed }]);
      await org.extend(renewed, 10, { leaseMs: 600_000 });
      const sweep = { kind: 'floor', ifDue: true } as const;
      expect(await org.settle(renewed, 0, sweep)).toEqual({ kind: 'not_due' });
      expect(await org.settle(running, 0, sweep)).toEqual({ kind: 'not_due' });
      expect(await org.settle(newRequestId(), 0, sweep)).toEqual({ kind: 'not_due' });
      expect(await store.due(org.shard, 10)).toEqual([]);
      expect((await org.state()).held).toBe(30);
    });

    test('a swept request that was only frozen is charged once, with its final', async () => {
      const { store, wait } = under();
      const org = await createSubject(store, { avail: 100, shard: 12 });
      const requestId = newRequestId();
      await org.hold(60, { requestId, leaseMs: 1 });
      await wait(20);
      const [due] = await store.due(org.shard, 10);
      expect(due).toMatchObject({ requestId, orgId: org.orgId, tokenId: org.tokenId, amount: 60, floor: 0, note: '{"kind":"floor"}' });
      expect(await org.settle(requestId, 0, { kind: 'floor', ifDue: true })).toMatchObject({ kind: 'settled', repeated: false });
      expect(await store.due(org.shard, 10)).toEqual([]);
      expect(await org.settle(requestId, 0, { kind: 'floor', ifDue: true })).toEqual({ kind: 'not_due' });
      expect(await org.settle(requestId, 42)).toMatchObject({ kind: 'settled', remaining: 58, repeated: false });
      expect(await org.state()).toMatchObject({ held: 0, pend: 42 });
    });
  });

  describe('Postgres', () => {
    test('the balance is set by a higher version only, and its charges leave pend in the same step', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.settle(requestId, 30);
      const clear = [{ requestId, kind: 'final', cost: micro(30) }] as const;
      expect(await org.applied({ avail: micro(70), balanceVersion: 2 }, { clear })).toEqual({ kind: 'applied', remaining: 70 });
      expect(await org.state()).toMatchObject({ pend: 0, spendable: 70, balance: { avail: 70, balanceVersion: 2 } });
      expect(await org.applied({ avail: micro(70), balanceVersion: 2 }, { clear })).toEqual({ kind: 'applied', remaining: 70 });
      expect(await org.applied({ avail: micro(999), balanceVersion: 1 })).toEqual({ kind: 'applied', remaining: 70 });
      expect(await org.applied({ avail: micro(999), balanceVersion: 2 })).toEqual({ kind: 'applied', remaining: 70 });
    });

    test('a late word about a floor does not clear the final that replaced it, nor a smaller floor a larger one', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const [one, two] = [newRequestId(), newRequestId()];
      await org.settle(one, 10, { kind: 'floor' });
      await org.settle(one, 30);
      await org.settle(two, 20, { kind: 'floor' });
      const floors = [
        { requestId: one, kind: 'floor', cost: micro(10) },
        { requestId: two, kind: 'floor', cost: micro(10) },
      ] as const;
      await org.applied({ avail: micro(90), balanceVersion: 2 }, { clear: floors });
      expect(await org.state()).toMatchObject({ pend: 50, spendable: 40 });
      await org.applied({ avail: micro(80), balanceVersion: 3 }, { clear: [{ requestId: two, kind: 'floor', cost: micro(20) }] });
      expect(await org.state()).toMatchObject({ pend: 30, spendable: 50 });
      await org.applied({ avail: micro(60), balanceVersion: 4 }, { clear: [{ requestId: one, kind: 'final', cost: micro(30) }] });
      expect(await org.state()).toMatchObject({ pend: 0, spendable: 60, pending: [] });
    });

    test('late news with an older version still clears what it names', async () => {
      const org = await createSubject(under().store, { avail: 100 });
      const requestId = newRequestId();
      await org.settle(requestId, 30);
      await org.applied({ avail: micro(60), balanceVersion: 9 });
      await org.applied({ avail: micro(70), balanceVersion: 5 }, { clear: [{ requestId, kind: 'final', cost: micro(30) }] });
      expect(await org.state()).toMatchObject({ pend: 0, balance: { avail: 60, balanceVersion: 9 } });
    });

    test('what a token has used moves from pend to its quota without being counted twice or forgotten', async () => {
      const { store } = under();
      const quotas = [{ window: 'total', cap: micro(100) }] as const;
      const org = await createSubject(store, { token: { quotas } });
      const requestId = newRequestId();
      await org.settle(requestId, 40);
      expect(await org.hold(61)).toMatchObject({ scope: 'quota', available: 60 });
      const used = [{ window: 'total', amount: micro(40), endsAtMs: 0 }] as const;
      const clear = [{ requestId, kind: 'final', cost: micro(40) }] as const;
      await org.applied({ avail: micro(960), balanceVersion: 2 }, { tokens: [{ tokenId: org.tokenId, used }], clear });
      expect(await org.hold(61)).toMatchObject({ scope: 'quota', available: 60 });
      expect(await org.hold(60)).toMatchObject({ kind: 'held' });
    });

    test('a charge is cleared from its token even when the news does not name the token', async () => {
      const quotas = [{ window: 'total', cap: micro(100) }] as const;
      const org = await createSubject(under().store, { token: { quotas } });
      const requestId = newRequestId();
      await org.settle(requestId, 40);
      await org.applied({ balanceVersion: 2 }, { clear: [{ requestId, kind: 'final', cost: micro(40) }] });
      expect(await org.hold(100)).toMatchObject({ kind: 'held' });
    });

    test('many charges are cleared at once', async () => {
      const org = await createSubject(under().store, { avail: 100_000 });
      const ids = Array.from({ length: 1_201 }, () => newRequestId());
      await Promise.all(ids.map((requestId) => org.settle(requestId, 7)));
      expect((await org.state()).pend).toBe(1_201 * 7);
      const clear = ids.map((requestId) => ({ requestId, kind: 'final', cost: micro(7) }) as const);
      await org.applied({ avail: micro(100_000 - 1_201 * 7), balanceVersion: 2 }, { clear });
      expect(await org.state()).toMatchObject({ pend: 0, spendable: 100_000 - 1_201 * 7 });
    });
  });

  describe('the stream', () => {
    test('is read in order after a cursor, and keeps what is young', async () => {
      const { store, wait } = under();
      const org = await createSubject(store, { shard: 13 });
      for (let i = 0; i < 5; i++) await org.settle(newRequestId(), i);
      const all = await store.entries(org.shard, '', 100);
      expect(all.map((one) => one.cost)).toEqual([0, 1, 2, 3, 4]);
      const cursor = all[1]?.cursor ?? '';
      expect((await store.entries(org.shard, cursor, 2)).map((one) => one.cost)).toEqual([2, 3]);
      await store.trim(org.shard, cursor, 60_000);
      expect(await store.entries(org.shard, '', 100)).toHaveLength(5);
      await wait(20);
      await store.trim(org.shard, cursor, 0);
      expect((await store.entries(org.shard, '', 100)).map((one) => one.cost)).toEqual([2, 3, 4]);
    });

    test('carries the event byte for byte', async () => {
      const org = await createSubject(under().store, { shard: 14 });
      const event = JSON.stringify({ text: 'ü | \n \u0000 "quoted" 漢字 😀 \\', long: 'x'.repeat(5_000) });
      await org.settle(newRequestId(), 1, { event });
      expect((await org.store.entries(org.shard, '', 10))[0]?.event).toBe(event);
    });
  });
}
