import { orgCalled, ownerOf, tokenCalled } from './cast.js';
import type { Action } from './script.js';

/** What can go wrong, as the command line names it. */
export const FAULTS = ['network', 'crash', 'leaders', 'outage', 'wipe', 'rollback', 'damage'] as const;
export type Fault = (typeof FAULTS)[number];

export const ACTION_FAULTS: Readonly<Record<string, Action>> = {
  // network
  copy: (world, [key = '']) => {
    if (world.wire.copy(key)) world.tally.duplicates += 1;
  },
  late: (world, [key = '']) => void world.wire.late(key),
  lose: (world, [key = '']) => {
    if (world.wire.lose(key, false)) world.tally.lost += 1;
  },
  cut: (world, [key = '']) => {
    if (world.wire.lose(key, true)) world.tally.lost += 1;
  },
  mute: (world, [key = '']) => {
    if (world.wire.mute(key)) world.tally.lost += 1;
  },
  fade: (world, [key = '']) => void world.wire.takeGhost(key),
  // processes
  crash: (world, [gateway = '', torn = '', dropped = '']) => {
    const at = world.gateways.get(gateway);
    if (!at?.up) return;
    world.tally.kills += 1;
    at.crash(torn === 'torn', dropped === 'dropped');
  },
  kill: (world, [name = '']) => {
    const leader = world.drains.get(name) ?? world.heals.get(name);
    if (!leader) return;
    world.tally.kills += 1;
    leader.kill();
  },
  // stores
  outage: (world, [state = '']) => {
    if (state === 'begins' && !world.books.away) world.tally.outages += 1;
    world.books.away = state === 'begins';
  },
  damage: async (world, [name = '', how = '']) => {
    const { damage } = world.subject;
    if (!damage) return;
    const isOrg = name.startsWith('o');
    const id = isOrg ? orgCalled(name) : tokenCalled(name);
    // The use of a token that has a quota is not brought back by projecting it, only by a charge or a reload.
    const { quotas, member } = isOrg ? { quotas: [], member: null } : world.books.token(tokenCalled(name)).terms;
    const hasQuota = quotas.length > 0 || member !== null;
    const orgId = isOrg ? orgCalled(name) : ownerOf(tokenCalled(name));
    world.damaged.set(orgId, world.hot.org(orgId).loaded ? world.life(orgId) : 'none');
    world.lossless = false;
    world.tally.damages += 1;
    await damage({ key: isOrg ? 'org' : 'token', id, how: how === 'junk' || hasQuota ? 'junk' : 'evicted' });
  },
  wipe: (world) => world.wipe(),
  snapshot: (world) => world.snapshot(),
  rollback: (world) => world.rollback(),
};
