import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, startRedis } from '../../../test/support/redis.js';
import { caught, type Fault, NOTHING_ALLOWED, REFUSALS, sleep } from '../fault.js';
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
      let sprung = 0;
      for (let i = 0; i < 3; i++) {
        sprung += await caught(world.redisProxy, { nth: world.random.whole(1, 40), moment: 'after', act: () => undefined });
        await sleep(300);
      }
      return sprung;
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
    inflict: damageOrg,
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

/** Fields that every hold reads, and what somebody might write into them: also text that is as long as the real thing. */
const NONSENSE = [
  ['balance', 'NaN'],
  ['balance', '-5'],
  ['balance', '1e3'],
  ['balance', '9'.repeat(32)],
  ['sums', 'abc'],
  ['sums', '9'.repeat(16)],
] as const;
const NOTICED_MS = 15_000;

async function damageOrg(world: World): Promise<void> {
  const key = orgKey(world, 'org');
  const damage = world.random.pick(['gone', 'type', 'nonsense', 'nonsense'] as const);
  const [field, text] = world.random.pick(NONSENSE);
  if (damage !== 'nonsense') await world.command('DEL', key);
  if (damage === 'type') await world.command('SET', key, '1e3');
  if (damage === 'nonsense') await world.command('HSET', key, field, text);
  const deadline = Date.now() + NOTICED_MS;
  // A wrong type answers the question with an error, a missing key with nothing.
  for (let now = ''; !now.startsWith('$') || now.startsWith('$-1') || now.includes(`\r\n${text}\r\n`); ) {
    if (Date.now() > deadline) throw new Error(`${damage} (${field} ${text}) was still there after ${NOTICED_MS} ms: ${now.slice(0, 60)}`);
    await sleep(50);
    now = await world.command('HGET', key, field).catch(() => '');
  }
}

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
