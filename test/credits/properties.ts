import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OrgState } from '../../src/credits/store.js';
import { newRequestId } from '../../src/domain/ids.js';
import { createSubject, micro, type Subject } from './builders.js';
import type { Opened } from './opened.js';

const RUNS = 25;

export function describeProperties(under: () => Opened): void {
  const store = () => under().store;

  describe('always', () => {
    test('concurrent holds never exceed the opening balance, and none is refused that would have fitted', async () => {
      const amounts = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 60 });
      const check = async (balance: number, wanted: readonly number[]): Promise<void> => {
        const org = await createSubject(store(), { avail: balance });
        const answers = await Promise.all(wanted.map((amount) => org.hold(amount)));
        let held = 0;
        let least = Number.POSITIVE_INFINITY;
        answers.forEach((answer, i) => {
          if (answer.kind === 'held') held += wanted[i] ?? 0;
          else least = Math.min(least, wanted[i] ?? 0);
        });
        expect(held).toBeLessThanOrEqual(balance);
        expect(least).toBeGreaterThan(balance - held);
        expect((await org.state()).held).toBe(held);
      };
      await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 600 }), amounts, check), { numRuns: RUNS });
    });

    test('exactly as many equal holds are admitted as there is money for', async () => {
      const org = await createSubject(store(), { avail: 37 * 11 });
      const answers = await Promise.all(Array.from({ length: 500 }, () => org.hold(11)));
      expect(answers.filter(({ kind }) => kind === 'held')).toHaveLength(37);
      expect(await org.state()).toMatchObject({ held: 37 * 11, spendable: 0 });
    });

    test('any order and any number of the same commands end in the same balances, and sums equal their parts', async () => {
      const step = fc.record({
        what: fc.constantFrom('hold', 'extend', 'floor', 'final', 'release', 'rehold', 'applied' as const),
        who: fc.integer({ min: 0, max: 3 }),
        amount: fc.integer({ min: 0, max: 90 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.infiniteStream(fc.nat()), async (steps, random) => {
          const final = [0, 1, 2, 3].map((who) => ({ who, cost: who * 10 }));
          const states: OrgState[] = [];
          for (const twist of [false, true]) {
            const org = await createSubject(store(), { avail: 1_000 });
            const ids = [0, 1, 2, 3].map(() => newRequestId());
            const list = twist ? shuffled([...steps, ...steps], random) : steps;
            for (const one of list) {
              await run(org, one, ids[one.who] ?? newRequestId());
              expectSums(await org.state());
            }
            for (const { who, cost } of final) await org.settle(ids[who] as never, cost);
            const clear = final.map(({ who, cost }) => ({ requestId: ids[who] as never, kind: 'final' as const, cost: micro(cost) }));
            await org.applied({ avail: micro(1_000 - 60), balanceVersion: 99 }, { clear });
            states.push(await org.state());
          }
          for (const state of states) expect(state).toMatchObject({ held: 0, pend: 0, spendable: 940, holds: [], pending: [] });
        }),
        { numRuns: RUNS },
      );
    });

    test('a request that knows only floors and finals keeps the largest of what it was told', async () => {
      const told = fc.array(fc.record({ final: fc.boolean(), cost: fc.integer({ min: 0, max: 99 }) }), { minLength: 1, maxLength: 8 });
      await fc.assert(
        fc.asyncProperty(told, async (charges) => {
          const org = await createSubject(store());
          const requestId = newRequestId();
          for (const { final, cost } of charges) await org.settle(requestId, cost, { kind: final ? 'final' : 'floor' });
          const first = charges.find(({ final }) => final);
          const expected = first ? first.cost : Math.max(...charges.map(({ cost }) => cost));
          expect(await org.state()).toMatchObject({ pend: expected, pending: [{ kind: first ? 'final' : 'floor', cost: expected }] });
        }),
        { numRuns: RUNS },
      );
    });
  });
}

async function run(org: Subject, step: { what: string; amount: number }, requestId: ReturnType<typeof newRequestId>): Promise<void> {
  const { amount } = step;
  if (step.what === 'hold') await org.hold(amount, { requestId });
  if (step.what === 'extend') await org.extend(requestId, amount, { floor: micro(amount) });
  if (step.what === 'floor') await org.settle(requestId, amount, { kind: 'floor' });
  if (step.what === 'rehold') await org.rehold(requestId, amount);
  if (step.what === 'release') await org.settle(requestId, 0, { event: null });
  if (step.what === 'applied') await org.applied({ balanceVersion: 2 }, { clear: [{ requestId, kind: 'floor', cost: micro(amount) }] });
}

function expectSums(state: OrgState): void {
  expect(state.held).toBe(state.holds.reduce((sum, { amount }) => sum + amount, 0));
  expect(state.pend).toBe(state.pending.reduce((sum, { cost }) => sum + cost, 0));
  expect(state.spendable).toBe(state.balance.avail - state.held - state.pend + state.overdraft);
}

function shuffled<T>(list: T[], random: Iterator<number>): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = (random.next().value as number) % (i + 1);
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}
