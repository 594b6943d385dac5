import { GATEWAYS, MEMBER, micro, ORGS, orgCalled, ownerOf, requestCalled, SHARDS, TOKENS, tokenCalled, tokensOf } from './cast.js';
import { ACTION_FAULTS } from './faults.js';
import { projectOrg, projectToken, repair, sweep } from './workers.js';
import type { World } from './world.js';

export type Action = (world: World, words: readonly string[]) => Promise<void> | void;

/** Every line a script may have. First word: what happens; then to whom; then how. */
export const ACTIONS: Readonly<Record<string, Action>> = {
  // the network
  call: async (world, [key = '']) => {
    const message = world.wire.takeWaiting(key);
    if (message) message.hear(await world.run(message));
  },
  run: async (world, [key = '']) => {
    const message = world.wire.takeWaiting(key);
    if (!message) return;
    message.answer = await world.run(message);
    world.wire.answered.push(message);
  },
  tell: (world, [key = '']) => {
    const message = world.wire.takeAnswered(key);
    if (message?.answer) message.hear(message.answer);
  },
  ghost: async (world, [key = '']) => {
    const message = world.wire.takeGhost(key);
    if (!message) return;
    world.tally.late += 1;
    await world.run(message);
  },
  ...ACTION_FAULTS,

  // requests
  ask: (world, [gateway = '', request = '', token = '', amount = '']) => {
    const at = world.gateways.get(gateway);
    if (!at?.up || world.stories.all.has(requestCalled(request))) return;
    world.tally.requests += 1;
    at.ask(requestCalled(request), tokenCalled(token), Number(amount));
  },
  beat: (world, [gateway = '', request = '', floor = '', amount = '']) =>
    world.gateways.get(gateway)?.beat(requestCalled(request), Number(floor), Number(amount)),
  checkpoint: (world, [gateway = '', request = '']) => world.gateways.get(gateway)?.checkpoint(requestCalled(request)),
  end: (world, [gateway = '', request = '', cost = '']) => world.gateways.get(gateway)?.end(requestCalled(request), Number(cost)),
  retry: (world, [gateway = '', request = '']) => world.gateways.get(gateway)?.retry(requestCalled(request)),
  watch: (world, [gateway = '']) => {
    if (world.gateways.get(gateway)?.up) world.gateways.get(gateway)?.watch();
  },
  say: (world, [gateway = '']) => world.gateways.get(gateway)?.say(),
  confirm: (world, [gateway = '', org = '']) => {
    if (world.gateways.get(gateway)?.up) world.gateways.get(gateway)?.confirm(orgCalled(org));
  },
  boot: (world, [gateway = '']) => {
    if (GATEWAYS.includes(gateway) && !world.gateways.get(gateway)?.up) world.gateways.get(gateway)?.boot();
  },

  // workers
  drain: (world, [drain = '', shard = '']) => world.drains.get(drain)?.read(shard),
  post: (world, [drain = '', heard = '']) => world.drains.get(drain)?.post(heard !== 'unheard'),
  trim: (world, [drain = '', shard = '', keepMs = '']) => world.drains.get(drain)?.trim(shard, Number(keepMs) * world.subject.scale),
  heal: (world, [heal = '', shard = '']) => world.heals.get(heal)?.start(shard),
  read: (world, [heal = '']) => world.heals.get(heal)?.read(),
  load: (world, [heal = '', org = '']) => world.heals.get(heal)?.load(org === '' ? undefined : orgCalled(org)),
  expect: (world, [heal = '']) => world.heals.get(heal)?.expect(),
  serve: (world, [heal = '']) => world.heals.get(heal)?.serve(),
  open: (world, [heal = '']) => world.heals.get(heal)?.open(),
  sweep: (world, [shard = '']) => sweep(world.parts, shard),
  repair: (world) => repair(world.parts),

  // the operator
  grant: (world, [org = '', amount = '']) => {
    if (world.books.away) return;
    world.books.grant(orgCalled(org), Number(amount));
    projectOrg(world.parts, orgCalled(org));
  },
  void: (world, [org = '', amount = '']) => {
    if (world.books.away) return;
    world.books.void(orgCalled(org), Number(amount));
    projectOrg(world.parts, orgCalled(org));
  },
  org: (world, [org = '', what = '', value = '']) => {
    if (world.books.away) return;
    const orgId = orgCalled(org);
    if (what === 'status') world.books.changeOrg(orgId, { status: value === 'active' ? 'active' : 'suspended' });
    if (what === 'limit') world.books.changeOrg(orgId, { limit: value === 'none' ? null : micro(Number(value)) });
    if (what === 'overdraft') {
      world.overdrawn.add(orgId);
      world.books.changeOrg(orgId, { overdraft: micro(Number(value)) });
    }
    projectOrg(world.parts, orgId);
  },
  token: (world, [token = '', what = '', value = '']) => {
    const tokenId = tokenCalled(token);
    if (world.books.away || world.books.token(tokenId).terms.status === 'revoked') return;
    if (what === 'status')
      world.books.changeToken(tokenId, { status: value === 'active' ? 'active' : value === 'revoked' ? value : 'paused' });
    if (what === 'quota' && !world.damaged.has(ownerOf(tokenId))) {
      world.books.changeToken(tokenId, { quotas: value === 'none' ? [] : [{ window: 'total', cap: micro(Number(value)) }] });
    }
    if (what === 'member' && !world.damaged.has(ownerOf(tokenId))) {
      // Each of them is told by itself, so there are always moments in which they know different quotas.
      const tokens = tokensOf(ownerOf(tokenId));
      const member = value === 'none' ? null : { id: MEMBER, cap: micro(Number(value)), tokens };
      for (const one of tokens) {
        world.books.changeToken(one, { member });
        if (one !== tokenId) projectToken(world.parts, one);
      }
    }
    if (what === 'concurrency') world.books.changeToken(tokenId, { concurrency: Number(value) });
    projectToken(world.parts, tokenId);
  },
  tick: (world, [ms = '']) => world.tick(Number(ms)),
};

/** How an episode begins: everything absent, loaded by the first healer, everybody has seen the first epoch. */
export async function genesis(world: World): Promise<void> {
  await world.learnEpochs();
  for (const shard of SHARDS) {
    await world.perform(`heal h0 ${shard}`);
    await settleDown(world);
    for (const line of ['read h0', 'load h0']) await world.perform(line);
    await settleDown(world);
    for (const line of ['tick 2000', 'open h0']) await world.perform(line);
    await settleDown(world);
  }
  for (const gateway of GATEWAYS) await world.perform(`watch ${gateway}`);
  await settleDown(world);
  for (const org of ORGS) world.books.wallet(org).toldTerms = 1;
  for (const token of TOKENS) world.books.token(token).toldTerms = 1;
}

/** Delivers everything that waits, in order, until nothing does. */
export async function settleDown(world: World): Promise<void> {
  for (;;) {
    const next = world.wire.waiting[0];
    if (!next) return;
    await world.perform(`call ${next.key}`);
  }
}
