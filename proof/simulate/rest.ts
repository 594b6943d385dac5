import { shardOf } from '../../src/domain/ids.js';
import { DRAINS, GATEWAYS, HEALS, LEASE_MS, ORGS, orgName, requestName, SHARDS } from './cast.js';
import { checkRest } from './check.js';
import { settleDown } from './script.js';
import { Violation } from './violation.js';
import type { World } from './world.js';

const ROUNDS_MAX = 60;
const MORE_MAX = 10;

/**
 * The faults are over: every delayed call arrives, everything dead starts again, every request ends. After a few rounds of
 * what the processes do by themselves, store and books must agree.
 */
export async function comeToRest(world: World): Promise<void> {
  await world.perform('outage ends');
  for (const { key } of [...world.wire.answered]) await world.perform(`tell ${key}`);
  for (const { key } of [...world.wire.ghosts]) await world.perform(`ghost ${key}`);
  for (const gateway of GATEWAYS) await world.perform(`boot ${gateway}`);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    await oneRound(world);
    if (isAtRest(world)) {
      // Once more with leases over, for holds of requests nobody remembers.
      await world.perform(`tick ${LEASE_MS * 2}`);
      await oneRound(world);
      await oneRound(world);
      if (isAtRest(world)) return checkRest(world);
    }
  }
  throw new Violation('comes to rest', `it does not, within ${ROUNDS_MAX} rounds: ${restlessness(world)}`);
}

async function oneRound(world: World): Promise<void> {
  const play = async (line: string): Promise<void> => {
    await world.perform(line);
    await settleDown(world);
  };
  for (const heal of HEALS) {
    for (const shard of SHARDS) {
      for (const line of [`heal ${heal} ${shard}`, `read ${heal}`, `load ${heal}`]) await play(line);
      for (const gateway of GATEWAYS) await play(`watch ${gateway}`);
      for (const line of ['tick 2000', `serve ${heal}`, `read ${heal}`, `load ${heal}`, `open ${heal}`]) await play(line);
    }
  }
  for (const [name, gateway] of world.gateways) {
    for (const { requestId, state, amount } of [...gateway.running.values()]) {
      if (state === 'running') await play(`end ${name} ${requestName(requestId)} ${Math.floor(amount / 2)}`);
    }
    for (const id of [...gateway.waiting.keys()]) await play(`retry ${name} ${requestName(id)}`);
    await play(`watch ${name}`);
    while (gateway.again.size > 0) await play(`say ${name}`);
    for (const org of ORGS) await play(`confirm ${name} ${orgName(org)}`);
  }
  await play('repair');
  for (const shard of SHARDS) {
    await play(`sweep ${shard}`);
    for (const drain of DRAINS) {
      for (const line of [`drain ${drain} ${shard}`, `post ${drain} heard`]) await play(line);
      for (let more = 0; more < MORE_MAX && world.drains.get(drain)?.batch; more++) await play(`post ${drain} heard`);
    }
  }
}

function isAtRest(world: World): boolean {
  return restlessness(world) === '';
}

function restlessness(world: World): string {
  const { hot, books } = world;
  const words: string[] = [];
  for (const [name, { running, waiting, again, journal }] of world.gateways) {
    const open = journal.unconfirmed().map(({ requestId }) => requestName(requestId));
    if (running.size + waiting.size + again.size + open.length > 0)
      words.push(`${name} has ${running.size} running, ${waiting.size} unsent, ${again.size} to say again, unconfirmed ${open}`);
  }
  for (const org of ORGS) {
    if (!hot.shard(shardOf(org)).whole) words.push(`the shard of ${orgName(org)} is not whole`);
    else if (hot.stateOf(org) !== 'open') words.push(`${orgName(org)} is ${hot.stateOf(org)}`);
    else if (hot.held(org) + hot.pend(org) > 0) words.push(`${orgName(org)} has ${hot.held(org)} held, ${hot.pend(org)} pending`);
    if (books.wallet(org).untold !== null) words.push(`${orgName(org)} was not told its balance`);
  }
  return words.join('; ');
}
