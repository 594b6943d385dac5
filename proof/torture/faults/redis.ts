import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, startRedis } from '../../../test/support/redis.js';
import { type Fault, NOTHING_ALLOWED, REFUSALS, sleep, within } from '../fault.js';
import type { World } from '../world.js';

const orgKey = (world: World, name: string): string => `{${world.customer.orgId.slice(4, 6)}}:${name}:${world.customer.orgId}`;

export const redisFaults: readonly Fault[] = [
  { id: 'F16', name: 'FLUSHALL', allowed: REFUSALS, inflict: async (world) => void (await world.command('FLUSHALL')) },
  {
    id: 'F16',
    name: 'FLUSHALL twice within a second',
    allowed: REFUSALS,
    inflict: async (world) => {
      await world.command('FLUSHALL');
      await sleep(world.random.whole(20, 900));
      await world.command('FLUSHALL');
    },
  },
  {
    id: 'F16',
    name: 'FLUSHALL while the heal of another runs',
    allowed: REFUSALS,
    inflict: async (world) => {
      await world.command('FLUSHALL');
      await sleep(world.random.whole(600, 2_400));
      await world.command('FLUSHALL');
    },
  },
  { id: 'F17', name: 'SCRIPT FLUSH', allowed: NOTHING_ALLOWED, inflict: async (world) => void (await world.command('SCRIPT', 'FLUSH')) },
  {
    id: 'F14',
    name: 'reply of a script call swallowed, connection cut',
    allowed: REFUSALS,
    inflict: async (world) => {
      for (let i = 0; i < 3; i++) {
        await within('a trap', 8_000, world.redisProxy.trap({ nth: world.random.whole(1, 40), moment: 'after', act: () => undefined }));
        world.redisProxy.disarm();
        await sleep(300);
      }
    },
  },
  {
    id: 'F13',
    name: 'Redis killed and restarted (AOF)',
    allowed: REFUSALS,
    inflict: async (world) => {
      await world.redis.kill();
      await sleep(world.random.whole(50, 800));
      await world.redis.restart();
    },
  },
  {
    id: 'F18',
    name: 'Redis restarted from a stale copy',
    allowed: REFUSALS,
    inflict: async (world) => {
      const [live, copy] = [join(world.redisDir, 'appendonlydir'), `${world.redisDir}/older`];
      await world.command('DEBUG', 'SLEEP', '0');
      cpSync(live, copy, { recursive: true });
      await sleep(2_000);
      await world.redis.kill();
      rmSync(live, { recursive: true, force: true });
      cpSync(copy, live, { recursive: true });
      rmSync(copy, { recursive: true, force: true });
      await world.redis.restart();
    },
  },
  {
    id: 'F15',
    name: 'Redis frozen 0.3 s',
    allowed: REFUSALS,
    inflict: (world) => frozen(world, 300),
  },
  { id: 'F15', name: 'Redis frozen 3 s', allowed: REFUSALS, inflict: (world) => frozen(world, 3_000) },
  {
    id: 'F19',
    name: 'fail-over to a replica that lags 2 s, and back',
    allowed: REFUSALS,
    inflict: failOver,
  },
  {
    id: 'F20',
    name: 'the key of an organization deleted, of a wrong type, or nonsense',
    allowed: REFUSALS,
    inflict: async (world) => {
      const key = orgKey(world, 'org');
      const damage = world.random.pick(['gone', 'type', 'nonsense'] as const);
      await world.command('DEL', key);
      if (damage === 'type') await world.command('SET', key, '1e3');
      if (damage === 'nonsense') await world.command('HSET', key, 'avail', 'NaN', 'held', '-5', 'pend', 'abc');
      await sleep(3_000);
    },
  },
  {
    id: 'F21',
    name: 'Redis out of memory (noeviction) 3 s',
    allowed: REFUSALS,
    inflict: async (world) => {
      await world.command('CONFIG', 'SET', 'maxmemory', '1mb');
      await sleep(3_000);
      await world.command('CONFIG', 'SET', 'maxmemory', '0');
    },
  },
  {
    id: 'F22',
    name: 'CLIENT KILL ten times a second for 4 s',
    allowed: REFUSALS,
    inflict: async (world) => {
      for (let i = 0; i < 40; i++) {
        await world.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await sleep(100);
      }
    },
  },
  {
    id: 'F24',
    name: 'Redis 100 ms away both ways for 4 s',
    allowed: REFUSALS,
    inflict: async (world) => {
      world.redisProxy.delay(100);
      await sleep(4_000);
      world.redisProxy.delay(0);
    },
  },
];

async function frozen(world: World, ms: number): Promise<void> {
  world.redis.pause();
  await sleep(ms);
  world.redis.resume();
}

/** The replica stops hearing of the primary, two seconds later it is promoted and the primary dies; then the same back. */
async function failOver(world: World): Promise<void> {
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(world.redis.port)] });
  try {
    await sleep(1_500);
    await command(replica.port, 'REPLICAOF', 'NO', 'ONE');
    await sleep(2_000);
    world.redisProxy.retarget(replica.port);
    await world.redis.kill();
    world.redisProxy.cutAll();
    await sleep(4_000);
    await world.redis.restart();
    world.redisProxy.retarget(world.redis.port);
    world.redisProxy.cutAll();
  } finally {
    world.redisProxy.retarget(world.redis.port);
    await replica.stop();
  }
}
