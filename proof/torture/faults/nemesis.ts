import { CRASH, type Fault, kill, sleep } from '../fault.js';
import type { World } from '../world.js';

/** Faults of every kind at the same time, each kind in its own rhythm, while requests go on. */
export const nemesisFaults: readonly Fault[] = [
  {
    id: 'nemesis',
    name: 'for a minute Redis, Postgres and the processes are hurt at once, with a kill every 20 s',
    allowed: CRASH,
    inflict: (world) => nemesis(world, { lastsMs: 60_000, killEveryMs: 20_000, restMs: [3_000, 9_000] }),
  },
  {
    id: 'nemesis-short',
    name: 'for half a minute Redis, Postgres and the processes are hurt at once, with a kill every 10 s',
    allowed: CRASH,
    inflict: (world) => nemesis(world, { lastsMs: 30_000, killEveryMs: 10_000, restMs: [2_000, 5_000] }),
  },
];

interface Rhythm {
  readonly lastsMs: number;
  readonly killEveryMs: number;
  readonly restMs: readonly [from: number, to: number];
}

async function nemesis(world: World, { lastsMs, killEveryMs, restMs }: Rhythm): Promise<void> {
  const { random } = world;
  const until = Date.now() + lastsMs;
  await Promise.all([
    again(until, async () => {
      await sleep(killEveryMs - 2_000 - random.whole(0, 2_000));
      const { gateways, office } = world.product.parts();
      kill(world, random.chance(0.7) ? random.pick(gateways) : office[0]);
      await sleep(2_000);
    }),
    again(until, async () => {
      await sleep(random.whole(...restMs));
      await random.pick(REDIS)(world);
    }),
    again(until, async () => {
      await sleep(random.whole(...restMs));
      await random.pick(POSTGRES)(world);
    }),
  ]);
}

async function again(until: number, act: () => Promise<void>): Promise<void> {
  while (Date.now() < until) await act();
}

type Act = (world: World) => Promise<void>;

const REDIS: readonly Act[] = [
  async ({ redis, random }) => {
    await redis.kill();
    await sleep(random.whole(50, 800));
    await redis.restart();
  },
  async ({ command }) => void (await command('FLUSHALL')),
  async ({ command }) => void (await command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')),
  async ({ redis }) => {
    redis.pause();
    await sleep(1_000);
    redis.resume();
  },
];

const POSTGRES: readonly Act[] = [
  async ({ postgres, random }) => {
    await postgres.stop();
    await sleep(random.whole(2_000, 10_000));
    await postgres.start();
  },
  async ({ postgres }) => {
    postgres.freeze();
    await sleep(4_000);
    postgres.thaw();
  },
];
