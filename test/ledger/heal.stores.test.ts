import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore } from '../../src/credits/store.js';
import { microCredits } from '../../src/domain/credits.js';
import { type OrgId, shardOf } from '../../src/domain/ids.js';
import { createDrain } from '../../src/ledger/drain.js';
import { createHeal } from '../../src/ledger/heal.js';
import { type Books, type Customer, charge, give, newCustomer, openBooks } from './books.js';

let books: Books;
beforeAll(async () => {
  books = await openBooks();
});
afterAll(() => books.close());

const heal = (store: CreditStore) => createHeal({ db: books.db, store, owner: 'test', reholdMs: 0 });
const stateOf = async (store: CreditStore, shard: string) => (await store.shards()).find((one) => one.shard === shard)?.state;

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
  const event = charge(busy, 10);
  await before.settle({
    ...{ requestId: event.request_id, orgId: event.org_id, tokenId: event.token_id, kind: event.kind },
    ...{ cost: microCredits(event.cost), event: JSON.stringify(event) },
  });
  await createDrain({ db: books.db, store: before, owner: 'test' }).step();

  const store = createEmbeddedStore();
  let openNow = (): void => undefined;
  const isOpen = new Promise<void>((go) => {
    openNow = go;
  });
  const watched: CreditStore = {
    ...store,
    load: async (shard, orgs) => {
      // Loaded only once the busy one is open: if that came late, or waited for the others, nothing would ever open.
      if (shard !== shardOf(busy.orgId)) await isOpen;
      return store.load(shard, orgs);
    },
    transition: async (shard, from, to) => {
      const moved = await store.transition(shard, from, to);
      if (shard === shardOf(busy.orgId) && to === 'open') openNow();
      return moved;
    },
  };
  expect(await heal(watched).step()).toMatchObject({ kind: 'healed', shards: 64 });
  expect((await store.shards()).every(({ state }) => state === 'open')).toBe(true);
  expect(await spendable(store, busy.orgId)).toBe(990);
  for (const other of all.slice(0, -1)) expect(await spendable(store, other.orgId)).toBe(1_000);
});

test('a shard that cannot be loaded stays closed, harms no other, and is loaded at the next try', async () => {
  const [ill, well] = (await customers(2)) as [Customer, Customer];
  const store = createEmbeddedStore();
  let isIll = true;
  const failing: CreditStore = {
    ...store,
    load: async (shard, orgs) => {
      if (isIll && shard === shardOf(ill.orgId)) throw new Error('not now');
      return store.load(shard, orgs);
    },
  };
  await expect(heal(failing).step()).rejects.toThrow('not now');
  expect(await spendable(store, well.orgId)).toBe(1_000);
  expect(await stateOf(store, shardOf(ill.orgId))).toBe('filling');
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
    load: async (name, orgs) => {
      await store.load(name, orgs);
      if (name !== shard || isLost) return;
      isLost = true;
      const now = (await store.shards()).find((state) => state.shard === shard);
      if (now) await store.transition(shard, now, 'filling'); // somebody else begins anew
    },
  };
  await heal(losing).step();
  expect(await stateOf(store, shard)).toBe('filling');
  expect(await heal(losing).step()).toMatchObject({ kind: 'healed', shards: 1 });
  expect(await spendable(store, one.orgId)).toBe(1_000);
});

async function spendable(store: CreditStore, orgId: OrgId): Promise<number> {
  const state = await store.inspect(orgId);
  if (!state || 'kind' in state) throw new Error(`the store does not know ${orgId}`);
  return state.spendable;
}
