import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { microCredits } from '../../src/domain/credits.js';
import { type OrgId, shardOf } from '../../src/domain/ids.js';
import { createDrain } from '../../src/ledger/drain.js';
import { createHeal } from '../../src/ledger/heal.js';
import { reconcileOrg } from '../../src/ledger/reconcileOrg.js';
import { type Books, type Customer, charge, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(() => books.close());

const heal = (store: CreditStore) => createHeal({ db: books.db, store, owner: 'test', reholdMs: 0 });
const stateOf = async (store: CreditStore, shard: string) => (await store.shards()).find((one) => one.shard === shard);

/** As many, each in a shard of its own, with 1,000 each; in the order in which shards are named. */
async function customers(count: number): Promise<Customer[]> {
  const found = new Map<string, Customer>();
  while (found.size < count) {
    const one = await newCustomer(books.db);
    found.set(shardOf(one.orgId), one);
  }
  for (const one of found.values()) await give(books.db, one, 1_000);
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
}

test('a shard opens as soon as it is loaded, the busiest first, whatever the others still need', async () => {
  const all = await customers(8);
  const busy = all.at(-1) as Customer;
  const before = createEmbeddedStore();
  await heal(before).step();
  await spend(before, busy, 10);

  const store = createEmbeddedStore();
  let openNow = (): void => undefined;
  const isOpen = new Promise<void>((go) => {
    openNow = go;
  });
  const watched: CreditStore = {
    ...store,
    load: async (shard, orgs, epoch) => {
      // Loaded only once the busy one is open: if that came late, or waited for the others, nothing would ever open.
      if (shard !== shardOf(busy.orgId)) await isOpen;
      return store.load(shard, orgs, epoch);
    },
    transition: async (shard, from, to) => {
      const moved = await store.transition(shard, from, to);
      if (shard === shardOf(busy.orgId) && to === 'open') openNow();
      return moved;
    },
  };
  const [row] = await books.db.query<{ count: number }>('select count(*)::int as count from organizations');
  expect(await heal(watched).step()).toEqual({ kind: 'healed', shards: 64, orgs: row?.count });
  expect((await store.shards()).every(({ whole }) => whole)).toBe(true);
  expect(await spendable(store, busy.orgId)).toBe(990);
  for (const other of all.slice(0, -1)) expect(await spendable(store, other.orgId)).toBe(1_000);
});

test('who cannot be loaded is not served, harms no other, and is loaded at the next try', async () => {
  const [ill, well] = (await customers(2)) as [Customer, Customer];
  const store = createEmbeddedStore();
  let isIll = true;
  const failing: CreditStore = {
    ...store,
    load: async (shard, orgs, epoch) => {
      if (isIll && shard === shardOf(ill.orgId)) throw new Error('not now');
      return store.load(shard, orgs, epoch);
    },
  };
  await expect(heal(failing).step()).rejects.toThrow('not now');
  expect(await spendable(store, well.orgId)).toBe(1_000);
  expect(await stateOf(store, shardOf(ill.orgId))).toMatchObject({ state: 'open', whole: false });
  expect(await store.lookup(ill.tokenId)).toMatchObject({ kind: 'unavailable', reason: 'not_loaded', maybeDone: false });
  isIll = false;
  expect(await heal(failing).step()).toMatchObject({ kind: 'healed', shards: 1 });
  expect(await spendable(store, ill.orgId)).toBe(1_000);
});

test('a shard that was lost again while it was loaded is not opened by the one who loaded it before', async () => {
  const [one] = (await customers(1)) as [Customer];
  const store = createEmbeddedStore();
  const shard = shardOf(one.orgId);
  let isLost = false;
  const losing: CreditStore = {
    ...store,
    load: async (name, orgs, epoch) => {
      await store.load(name, orgs, epoch);
      if (name !== shard || isLost) return;
      isLost = true;
      const now = (await store.shards()).find((state) => state.shard === shard);
      if (now) await store.transition(shard, now, 'filling'); // somebody else begins anew
    },
  };
  await heal(losing).step();
  expect(await stateOf(store, shard)).toMatchObject({ state: 'filling' });
  expect(await heal(losing).step()).toMatchObject({ kind: 'healed', shards: 1 });
  expect(await spendable(store, one.orgId)).toBe(1_000);
});

/** Two organizations of one shard, with 1,000 each. */
async function neighbours(): Promise<readonly [Customer, Customer]> {
  const shard = Math.floor(Math.random() * 64);
  const both = [await newCustomer(books.db, { shard }), await newCustomer(books.db, { shard })] as const;
  for (const one of both) await give(books.db, one, 1_000);
  return both;
}

/** A store in which whatever is loaded together with this organization waits until it is let in; by itself it does not. */
function slowFor({ orgId }: Customer): { store: CreditStore; real: CreditStore; letIn(): void } {
  const real = createEmbeddedStore();
  let letIn = (): void => undefined;
  const isIn = new Promise<void>((go) => {
    letIn = go;
  });
  const load: CreditStore['load'] = async (shard, orgs, epoch) => {
    if (orgs.length > 1 && orgs.some(({ terms }) => terms.orgId === orgId)) await isIn;
    return real.load(shard, orgs, epoch);
  };
  return { store: { ...real, load }, real, letIn };
}

const until = async (look: () => Promise<boolean>): Promise<void> => {
  while (!(await look())) await new Promise((go) => setTimeout(go, 10));
};

test('a shard serves before it is loaded: who is asked for comes first, and everybody once it is', async () => {
  const [asked, patient] = await neighbours();
  const { store, real, letIn } = slowFor(asked);
  const shard = shardOf(asked.orgId);
  const said: number[] = [];
  const healing = createHeal({ db: books.db, store, owner: 'test', reholdMs: 0, onServing: ({ shards }) => void said.push(shards) }).step();
  await until(async () => (await stateOf(real, shard))?.state === 'open');
  expect(await stateOf(real, shard)).toMatchObject({ whole: false });
  expect(await real.lookup(asked.tokenId)).toMatchObject({ kind: 'unavailable', reason: 'not_loaded' });
  await until(async () => (await real.lookup(asked.tokenId)).kind === 'found');
  expect(await spendable(real, asked.orgId)).toBe(1_000);
  // Nobody asked for the neighbour.
  expect(await real.wanted(shard, 10)).toEqual([]);
  expect(await real.inspect(patient.orgId)).toMatchObject({ kind: 'unavailable', reason: 'not_loaded' });
  await until(async () => (await real.lookup(patient.tokenId)).kind === 'found');
  await until(async () => said.length > 0);
  expect(said).toEqual([64]);
  letIn();
  expect(await healing).toMatchObject({ kind: 'healed', shards: 64 });
  expect((await real.shards()).every(({ whole }) => whole)).toBe(true);
});

test('whoever takes over finds a shard that serves, and loads those who are still expected', async () => {
  const [one, other] = await neighbours();
  const { store, real, letIn } = slowFor(one);
  const first = createHeal({ db: books.db, store, owner: 'frozen', reholdMs: 0, leaseMs: 50 }).step();
  await until(async () => (await stateOf(real, shardOf(one.orgId)))?.state === 'open');
  await until(async () => (await createHeal({ db: books.db, store: real, owner: 'next', reholdMs: 0 }).step()).kind !== 'standby');
  expect((await real.shards()).every(({ whole }) => whole)).toBe(true);
  for (const { orgId } of [one, other]) expect(await spendable(real, orgId)).toBe(1_000);
  await spend(real, one, 100);
  // What the first one had read is old by now; nobody takes it any more.
  letIn();
  await first.catch(() => undefined);
  expect(await spendable(real, one.orgId)).toBe(900);
});

test.each([
  { first: 'it is loaded', reholdMs: 300, loadMs: 0 },
  { first: 'gateways had their time', reholdMs: 0, loadMs: 300 },
])('a shard whose names were lost serves nobody before all of it is loaded and gateways had their time: $first first', async (takes) => {
  const [one, other] = await neighbours();
  const shard = shardOf(one.orgId);
  const store = createEmbeddedStore();
  const moves: string[] = [];
  const [told, healedMs] = [[] as number[], performance.now()];
  const healing = createHeal({
    ...{ db: books.db, owner: 'test', reholdMs: takes.reholdMs, onServing: ({ shards }) => void told.push(shards) },
    store: {
      ...store,
      load: async (name, orgs, epoch) => {
        if (name === shard) await new Promise((go) => setTimeout(go, takes.loadMs));
        return store.load(name, orgs, epoch);
      },
      expect: async (name, accounts) => name !== shard && store.expect(name, accounts),
      transition: async (name, from, to) => {
        const moved = await store.transition(name, from, to);
        if (name === shard && moved) moves.push(to);
        if (name === shard && to === 'open') expect(performance.now() - healedMs).toBeGreaterThanOrEqual(290);
        return moved;
      },
    },
  });
  expect(await healing.step()).toMatchObject({ kind: 'healed', shards: 64 });
  expect(moves).toEqual(['filling', 'open']);
  expect(told).toEqual([]);
  expect((await store.shards()).every(({ whole }) => whole)).toBe(true);
  for (const { orgId } of [one, other]) expect(await spendable(store, orgId)).toBe(1_000);
});

test('the books of somebody who is still to be loaded are not wrong, only looked at a moment later', async () => {
  const [one] = await neighbours();
  const { store, real, letIn } = slowFor(one);
  const healing = heal(store).step();
  await until(async () => (await stateOf(real, shardOf(one.orgId)))?.state === 'open');
  expect((await reconcileOrg({ db: books.db, store: real, orgId: one.orgId }))?.findings).toEqual([]);
  letIn();
  await healing;
});

/** Settled in the store, and booked. */
async function spend(store: CreditStore, customer: Customer, cost: number): Promise<void> {
  const event = charge(customer, cost);
  await store.settle({
    ...{ requestId: event.request_id, orgId: event.org_id, tokenId: event.token_id, kind: event.kind },
    ...{ cost: microCredits(event.cost), event: JSON.stringify(event) },
  });
  await createDrain({ db: books.db, store, owner: 'test' }).step();
}

async function spendable(store: CreditStore, orgId: OrgId): Promise<number> {
  const state = await store.inspect(orgId);
  if (!state || 'kind' in state) throw new Error(`the store does not know ${orgId}`);
  return state.spendable;
}
