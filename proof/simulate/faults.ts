import type { Action } from './script.js';

/** What can go wrong, as the command line names it. */
export const FAULTS = ['network', 'crash', 'leaders', 'outage', 'wipe', 'rollback'] as const;
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
  wipe: (world) => world.wipe(),
  snapshot: (world) => world.snapshot(),
  rollback: (world) => world.rollback(),
};
