import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MEMBER_TOKENS_MAX, type TokenTerms } from '../../src/credits/store.js';
import { newRequestId, newTokenId, type TokenId } from '../../src/domain/ids.js';
import { createSubject, DAY_MS, micro, orgTerms, type Subject, type SubjectOptions, subject, tokenTerms } from './builders.js';
import type { Opened } from './opened.js';

interface Member {
  /** One of the organization's tokens each. */
  readonly tokens: readonly Subject[];
  /** Says the same cap of all of them, and each their own terms. */
  tell(cap: number | null, version: number, own?: (at: number) => Partial<TokenTerms>, sharers?: readonly TokenId[]): Promise<void>;
}

async function createMember(under: Opened, count: number, options: SubjectOptions = {}): Promise<Member> {
  const { store } = under;
  const first = await createSubject(store, options);
  const { orgId } = first;
  const others = Array.from({ length: count - 1 }, () => newTokenId(orgId));
  for (const tokenId of others) await store.project({ token: tokenTerms(tokenId, orgId) });
  const ids = [first.tokenId, ...others];
  return {
    tokens: ids.map((tokenId) => subject(store, orgId, tokenId)),
    tell: async (cap, version, own = () => ({}), sharers = ids) => {
      const member = cap === null ? null : { id: 'usr_one', cap: micro(cap), tokens: sharers };
      for (const [at, tokenId] of ids.entries()) {
        if (!sharers.includes(tokenId)) continue;
        await store.project({ token: tokenTerms(tokenId, orgId, { version, member, ...own(at) }) });
      }
    },
  };
}

const now = (tokenVersion: number) => ({ tokenVersion });

export function describeMembers(under: () => Opened): void {
  describe('the monthly quota of a member', () => {
    test('holds over all of their tokens together, and says what is left of it', async () => {
      const member = await createMember(under(), 2);
      await member.tell(100, 2);
      const [one, two] = member.tokens as [Subject, Subject];
      const requestId = newRequestId();
      expect(await one.hold(60, { ...now(2), requestId })).toMatchObject({ kind: 'held', remaining: 40 });
      const refusal = { kind: 'short', scope: 'member', required: 41, available: 40, inFlight: 60, resetsAtMs: 0 };
      expect(await two.hold(41, now(2))).toEqual(refusal);
      expect(await two.hold(40, now(2))).toMatchObject({ kind: 'held', remaining: 0 });
      expect(await one.settle(requestId, 10)).toMatchObject({ kind: 'settled', remaining: 50 });
      expect(await two.hold(51, now(2))).toMatchObject({ kind: 'short', available: 50, inFlight: 40 });
      expect(await two.hold(50, now(2))).toMatchObject({ kind: 'held' });
    });

    test('admits exactly as many equal holds as fit, over however many tokens, at once', async () => {
      const member = await createMember(under(), 5, { avail: 100_000 });
      await member.tell(37 * 11, 2);
      const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => member.tokens[i % 5]?.hold(11, now(2))));
      expect(answers.filter((answer) => answer?.kind === 'held')).toHaveLength(37);
      expect(answers.filter((answer) => answer?.kind === 'short')).toHaveLength(163);
    });

    test('counts what each token has used this month and has pending, revoked ones too, and starts again with the month', async () => {
      const { nowMs } = under();
      const member = await createMember(under(), 3);
      const [one, two, gone] = member.tokens as [Subject, Subject, Subject];
      const [pending, endsAtMs] = [newRequestId(), nowMs() + DAY_MS];
      await gone.hold(20, { requestId: pending });
      await gone.settle(pending, 15);
      await member.tell(100, 2, (at) => (at === 2 ? { status: 'revoked' } : {}));
      const use = (org: Subject, amount: number, ends: number) => ({
        tokenId: org.tokenId,
        used: [
          { window: 'total' as const, amount: micro(999), endsAtMs: 0 },
          { window: 'monthly' as const, amount: micro(amount), endsAtMs: ends },
        ],
      });
      await one.applied({ balanceVersion: 2 }, { tokens: [use(one, 30, endsAtMs), use(two, 20, endsAtMs), use(gone, 5, endsAtMs)] });
      expect(await gone.hold(1, now(2))).toEqual({ kind: 'token_revoked' });
      const refusal = { kind: 'short', scope: 'member', required: 31, available: 30, inFlight: 0, resetsAtMs: endsAtMs };
      expect(await two.hold(31, now(2))).toEqual(refusal);
      const over = nowMs() - 5_000;
      await one.applied({ balanceVersion: 3 }, { tokens: [use(one, 30, over), use(two, 20, over), use(gone, 5, over)] });
      expect(await two.hold(86, now(2))).toMatchObject({ kind: 'short', available: 85, resetsAtMs: 0 });
      expect(await two.hold(85, now(2))).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('counts what was told of a token before its terms were, or while they were lost', async () => {
      const { nowMs, store } = under();
      const member = await createMember(under(), 1);
      const [one] = member.tokens as [Subject];
      const late = newTokenId(one.orgId);
      const use = { tokenId: late, used: [{ window: 'monthly' as const, amount: micro(30), endsAtMs: nowMs() + DAY_MS }] };
      await one.applied({ balanceVersion: 2 }, { tokens: [use] });
      await store.project({ token: tokenTerms(late, one.orgId) });
      await member.tell(100, 2, () => ({ member: { id: 'usr_one', cap: micro(100), tokens: [one.tokenId, late] } }));
      expect(await one.hold(71, now(2))).toMatchObject({
        kind: 'short',
        scope: 'member',
        available: 70,
        resetsAtMs: use.used[0]?.endsAtMs,
      });
      expect(await one.hold(70, now(2))).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('is respected by a stream that asks for more, and the stream keeps what it has', async () => {
      const member = await createMember(under(), 2);
      await member.tell(100, 2);
      const [one, two] = member.tokens as [Subject, Subject];
      const requestId = newRequestId();
      await one.hold(30, { ...now(2), requestId });
      await two.hold(50, now(2));
      expect(await one.extend(requestId, 51)).toEqual({ kind: 'short', amount: 30 });
      expect(await one.extend(requestId, 50)).toEqual({ kind: 'extended', amount: 50 });
    });

    test('is in force for the very next request, also for one that was priced before, and when it is lifted', async () => {
      const member = await createMember(under(), 2);
      const [one, two] = member.tokens as [Subject, Subject];
      for (let i = 0; i < 2; i++) expect(await one.hold(30)).toMatchObject({ kind: 'held' });
      await member.tell(70, 2);
      expect(await two.hold(11)).toMatchObject({ kind: 'stale', token: { version: 2, member: { cap: 70 } } });
      expect(await two.hold(11, now(2))).toMatchObject({ kind: 'short', scope: 'member', available: 10, inFlight: 60 });
      await member.tell(80, 3);
      expect(await two.hold(11, now(3))).toMatchObject({ kind: 'held', remaining: 9 });
      await member.tell(null, 4);
      expect(await two.hold(200, now(4))).toMatchObject({ kind: 'held' });
    });

    test('follows a token that comes to the member or leaves, with what it holds', async () => {
      const member = await createMember(under(), 3);
      const [one, two, three] = member.tokens as [Subject, Subject, Subject];
      await member.tell(100, 2, undefined, [one.tokenId, two.tokenId]);
      expect(await three.hold(60)).toMatchObject({ kind: 'held' });
      expect(await one.hold(10, now(2))).toMatchObject({ kind: 'held', remaining: 90 });
      await member.tell(100, 3);
      for (const org of [one, two, three]) expect(await org.hold(31, now(3))).toMatchObject({ kind: 'short', available: 30, inFlight: 70 });
      await member.tell(100, 4, undefined, [one.tokenId, three.tokenId]);
      await member.tell(100, 5, undefined, [one.tokenId]);
      expect(await one.hold(91, now(5))).toMatchObject({ kind: 'short', available: 90 });
      expect(await one.hold(90, now(5))).toMatchObject({ kind: 'held' });
    });

    test('counts what a token holds that has not been told of it yet', async () => {
      const { store } = under();
      const member = await createMember(under(), 2);
      const [one, two] = member.tokens as [Subject, Subject];
      const ended = newRequestId();
      await two.hold(30);
      await two.hold(9, { requestId: ended });
      await two.settle(ended, 5);
      const quota = { id: 'usr_one', cap: micro(100), tokens: [one.tokenId, two.tokenId] };
      await store.project({ token: tokenTerms(one.tokenId, one.orgId, { version: 2, member: quota }) });
      expect(await one.hold(66, now(2))).toMatchObject({ kind: 'short', scope: 'member', available: 65, inFlight: 30 });
      expect(await one.hold(65, now(2))).toMatchObject({ kind: 'held', remaining: 0 });
    });

    test('is named after the quotas of the token, and before the limit and the balance', async () => {
      const member = await createMember(under(), 1, { avail: 10, org: { limit: micro(10) } });
      const [one] = member.tokens as [Subject];
      await member.tell(10, 2, () => ({ quotas: [{ window: 'total', cap: micro(10) }] }));
      expect(await one.hold(11, now(2))).toMatchObject({ scope: 'quota' });
      await member.tell(10, 3);
      expect(await one.hold(11, now(3))).toMatchObject({ scope: 'member' });
      await one.store.project({ org: orgTerms(one.orgId, { version: 2 }) });
      await member.tell(null, 4);
      expect(await one.hold(11, { tokenVersion: 4, orgVersion: 2 })).toMatchObject({ scope: 'balance' });
    });

    test('is not guessed while one of the tokens is not there; what runs can end', async () => {
      const { store } = under();
      const member = await createMember(under(), 1);
      const [one] = member.tokens as [Subject];
      const requestId = newRequestId();
      await one.hold(10, { requestId });
      const missing = newTokenId(one.orgId);
      await member.tell(100, 2, () => ({ member: { id: 'usr_one', cap: micro(100), tokens: [one.tokenId, missing] } }));
      expect(await one.hold(1, now(2))).toEqual({ kind: 'unavailable', reason: 'broken', maybeDone: false });
      expect(await one.hold(0, now(2))).toMatchObject({ kind: 'held', remaining: 0 });
      expect(await one.extend(requestId, 20)).toEqual({ kind: 'short', amount: 10 });
      expect(await one.settle(requestId, 10)).toMatchObject({ kind: 'settled', remaining: 0 });
      await store.project({ token: tokenTerms(missing, one.orgId) });
      expect(await one.hold(90, now(2))).toMatchObject({ kind: 'held' });
    });

    test('never lets more than the cap be held and owed, whatever the tokens do', async () => {
      const step = fc.record({
        who: fc.nat(2),
        what: fc.constantFrom('hold', 'hold', 'extend', 'settle'),
        amount: fc.integer({ min: 1, max: 40 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: 150 }), fc.array(step, { minLength: 5, maxLength: 40 }), async (cap, steps) => {
          const member = await createMember(under(), 3, { avail: 100_000 });
          await member.tell(cap, 2);
          const open = new Map<ReturnType<typeof newRequestId>, { org: Subject; amount: number }>();
          for (let at = 0; at < steps.length; at += 4) {
            await Promise.all(
              steps.slice(at, at + 4).map(async ({ who, what, amount }) => {
                const org = member.tokens[who] as Subject;
                const [[id, held] = []] = [...open].filter(([, one]) => one.org === org);
                if (what === 'hold') {
                  const requestId = newRequestId();
                  if ((await org.hold(amount, { ...now(2), requestId })).kind === 'held') open.set(requestId, { org, amount });
                } else if (id && held) {
                  open.delete(id);
                  const more = what === 'extend' ? await org.extend(id, held.amount + amount) : undefined;
                  if (more && 'amount' in more) open.set(id, { org, amount: more.amount });
                  else await org.settle(id, Math.min(held.amount, amount));
                }
              }),
            );
            const { held, pend } = await (member.tokens[0] as Subject).state();
            expect(held + pend).toBeLessThanOrEqual(cap);
          }
        }),
        { numRuns: 25 },
      );
    });

    test('names at most a hundred tokens, each once, itself among them', async () => {
      const [one] = (await createMember(under(), 1)).tokens as [Subject];
      const tell = (tokens: readonly TokenId[]) =>
        one.store.project({ token: tokenTerms(one.tokenId, one.orgId, { version: 2, member: { id: 'usr_one', cap: micro(5), tokens } }) });
      const others = Array.from({ length: MEMBER_TOKENS_MAX }, () => newTokenId(one.orgId));
      for (const tokens of [[], [newTokenId(one.orgId)], [one.tokenId, one.tokenId], [one.tokenId, ...others]]) {
        await expect(tell(tokens)).rejects.toMatchObject({ code: 'invalid_credit_command' });
      }
      const tokens = [one.tokenId, ...others.slice(1)];
      for (const tokenId of others.slice(1)) await one.store.project({ token: tokenTerms(tokenId, one.orgId) });
      expect(await tell(tokens)).toEqual({ kind: 'projected' });
      expect(await one.hold(6, now(2))).toMatchObject({ kind: 'short', scope: 'member' });
      expect(await one.hold(5, now(2))).toMatchObject({ kind: 'held' });
    });
  });
}
