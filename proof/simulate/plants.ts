import type { CreditStore } from '../../src/credits/store.js';
import type { Plant, Wrap } from './subject.js';

/** Lends 5,000 to whoever is loaded. */
const lends: Wrap = (store) => ({
  ...store,
  load: (shard, orgs, epoch) =>
    store.load(
      shard,
      orgs.map((org) => ({ ...org, terms: { ...org.terms, overdraft: 5_000 as never } })),
      epoch,
    ),
});

/** Takes "I cannot know" for a yes. */
const guesses: Wrap = (store) => ({
  ...store,
  hold: async (command) => {
    const answer = await store.hold(command);
    if (answer.kind !== 'unavailable') return answer;
    return { kind: 'held', amount: command.amount, remaining: command.amount, repeated: false };
  },
});

const WRAPS: Readonly<Record<string, Wrap>> = {
  'forgets-repeats': forgetsRepeats,
  'adds-on-load': addsOnLoad,
  'lends-to-everybody': lends,
  'guesses-while-closed': guesses,
  'one-epoch-for-ever': oneEpochForEver,
  'believes-old-balances': believesOldBalances,
  'sweeps-the-living': (store) => ({ ...store, settle: ({ ifDue: _, ...command }) => store.settle(command) }),
  'floors-are-final': (store) => ({ ...store, settle: (command) => store.settle({ ...command, kind: 'final' }) }),
  'never-hears-of-revocation': (store) => ({
    ...store,
    project: (terms) =>
      'token' in terms && terms.token.status === 'revoked' ? Promise.resolve({ kind: 'projected' as const }) : store.project(terms),
  }),
  'holds-half': (store) => ({ ...store, hold: (command) => store.hold({ ...command, amount: Math.floor(command.amount / 2) as never }) }),
  'clears-what-is-newer': (store) => ({
    ...store,
    applied: (command) => store.applied({ ...command, clear: command.clear.map((one) => ({ ...one, kind: 'final' as const })) }),
  }),
  'opens-before-all-is-loaded': (store) => ({
    ...store,
    transition: (shard, from, to) => store.transition(shard, from, to === 'serving' ? 'open' : to),
  }),
  'loads-what-another-life-read': (store) => ({ ...store, load: (shard, orgs) => store.load(shard, orgs) }),
  'trims-a-stale-copy': (store) => ({ ...store, trim: (shard, cursor, keepMs) => store.trim(shard, cursor, keepMs) }),
  'clears-before-it-counts': (store) => ({
    ...store,
    applied: (command) => store.applied({ ...command, balance: { ...command.balance, balanceVersion: 0 } }),
  }),
};

/** Bugs by name. A proof that finds none of them proves nothing. */
export const PLANTS: Readonly<Record<string, Plant>> = {
  ...Object.fromEntries(Object.entries(WRAPS).map(([name, wrap]) => [name, { wrap }])),
  'confirms-what-it-did-not-ask': { habit: 'confirms-what-it-did-not-ask' },
  'never-says-it-again': { habit: 'never-says-it-again' },
};

/** A repeated hold takes again, under another name. */
function forgetsRepeats(store: CreditStore): CreditStore {
  const seen = new Set<string>();
  return {
    ...store,
    hold: (command) => {
      const again = seen.has(command.requestId);
      seen.add(command.requestId);
      return store.hold(again ? { ...command, requestId: command.requestId.replace('70008', '70009') as never } : command);
    },
  };
}

/** A reload adds to what it finds, as some do. */
function addsOnLoad(store: CreditStore): CreditStore {
  const before = new Map<string, number>();
  return {
    ...store,
    load: (shard, orgs, epoch) =>
      store.load(
        shard,
        orgs.map((org) => {
          const avail = org.balance.avail + (before.get(org.terms.orgId) ?? 0);
          before.set(org.terms.orgId, avail);
          return { ...org, balance: { ...org.balance, avail: avail as never } };
        }),
        epoch,
      ),
  };
}

/** Every life of the data looks the same, so settlements of a lost one are taken for safe. */
function oneEpochForEver(store: CreditStore): CreditStore {
  const real = new Map<string, string>();
  return {
    ...store,
    shards: async () =>
      (await store.shards()).map((one) => {
        real.set(one.shard, one.epoch);
        return { ...one, epoch: 'for-ever' };
      }),
    transition: (shard, from, to) => store.transition(shard, { ...from, epoch: real.get(shard) ?? from.epoch }, to),
    load: (shard, orgs) => store.load(shard, orgs),
    settle: async (command) => ({ ...(await store.settle(command)), epoch: 'for-ever' }) as never,
    pending: async (orgId, ids) => ({ ...(await store.pending(orgId, ids)), epoch: 'for-ever' }) as never,
  };
}

/** Whatever comes last is taken for the news. */
function believesOldBalances(store: CreditStore): CreditStore {
  let version = 1_000_000;
  return {
    ...store,
    applied: (command) => store.applied({ ...command, balance: { ...command.balance, balanceVersion: ++version } }),
  };
}
