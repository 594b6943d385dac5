import { ownerOf } from '../../product.js';
import { CRASH, caught, type Fault, kill, NOTHING_ALLOWED, REFUSALS, sleep } from '../fault.js';
import type { Load } from '../load.js';
import type { FaultProxy, Trap } from '../proxy.js';
import type { World } from '../world.js';

/** Kills the gateway whose connection the trap sprang on. */
function killOwner(world: World, proxy: FaultProxy, trap: Omit<Trap, 'act'>): Promise<number> {
  const { gateways } = world.product.parts();
  return caught(proxy, { ...trap, act: (port) => void kill(world, ownerOf(port, gateways) ?? gateways[0]) });
}

async function killServer(world: World): Promise<void> {
  kill(world, world.product.pid);
  await world.product.kill();
  await world.product.start();
}

export const processFaults: readonly Fault[] = [
  {
    id: 'F2',
    name: 'gateway killed just before a script call reaches Redis',
    allowed: CRASH,
    inflict: (world) => killOwner(world, world.redisProxy, { nth: world.random.whole(1, 60), moment: 'before' }),
  },
  {
    id: 'F3,F6',
    name: 'gateway killed just after Redis ran a script call, reply unheard',
    allowed: CRASH,
    inflict: (world) => killOwner(world, world.redisProxy, { nth: world.random.whole(1, 60), moment: 'after' }),
  },
  {
    id: 'F4,F5',
    name: 'gateway killed at the n-th byte of an answer',
    allowed: CRASH,
    inflict: (world) => {
      const moment = world.random.pick(['before', 'after'] as const);
      return killOwner(world, world.upstreamProxy, { nth: world.random.whole(1, 60_000), moment });
    },
  },
  {
    id: 'F1,F7',
    name: 'gateway killed at any moment',
    allowed: CRASH,
    inflict: async (world) => {
      await sleep(world.random.whole(0, 700));
      return kill(world, world.random.pick(world.product.parts().gateways)) ? 1 : 0;
    },
  },
  {
    id: 'F9',
    name: 'gateway frozen for longer than its lease, then woken',
    // Its own clients wait; nobody is refused, and its late settlements win over the sweep.
    allowed: REFUSALS,
    inflict: async (world) => {
      const pid = world.random.pick(world.product.parts().gateways);
      kill(world, pid, 'SIGSTOP');
      try {
        await sleep(9_000);
      } finally {
        kill(world, pid, 'SIGCONT');
      }
    },
  },
  {
    id: 'F27,F33',
    name: 'office killed while streams run',
    allowed: NOTHING_ALLOWED,
    inflict: async (world) => {
      await sleep(world.random.whole(0, 500));
      for (const pid of world.product.parts().office) kill(world, pid);
      await sleep(1_500);
    },
  },
  {
    id: 'F33',
    name: 'office killed at a statement to Postgres',
    allowed: NOTHING_ALLOWED,
    inflict: async (world) => {
      const { office } = world.product.parts();
      const trap = { nth: world.random.whole(1, 20), moment: world.random.pick(['before', 'after'] as const) };
      return caught(world.postgresProxy, { ...trap, act: () => office.forEach((pid) => void kill(world, pid)) });
    },
  },
  {
    id: 'F1-F7',
    name: 'the whole server killed and started again',
    allowed: CRASH,
    inflict: async (world) => {
      await sleep(world.random.whole(300, 1_500));
      await killServer(world);
    },
  },
  {
    id: 'F1-F7',
    name: 'twelve kills in a row: gateways, office, the whole server',
    allowed: CRASH,
    inflict: async (world) => {
      for (let i = 0; i < 3; i++) {
        kill(world, world.random.pick(world.product.parts().gateways));
        await sleep(world.random.whole(300, 1_200));
        for (const pid of world.product.parts().office) kill(world, pid);
        await sleep(world.random.whole(100, 900));
        kill(world, world.product.parts().gateways[0]);
        await sleep(world.random.whole(300, 1_200));
        await killServer(world);
        await sleep(500);
      }
    },
  },
  {
    id: 'F8',
    name: 'SIGTERM with 50 live streams, then started again',
    allowed: REFUSALS,
    inflict: async (world, load) => {
      const streams = load.burst(50, 'long_stream');
      await sleep(1_000);
      await restart(world, load, streams);
    },
  },
  {
    id: 'F8',
    name: 'SIGTERM at any moment, then started again',
    allowed: REFUSALS,
    inflict: (world, load) => restart(world, load, sleep(world.random.whole(0, 400))),
  },
];

/** Nobody may be asked while nobody listens, so the load ends first; what runs when the signal comes must end whole. */
async function restart(world: World, load: Load, before: Promise<void>): Promise<void> {
  const over = load.stop();
  const code = await world.product.terminate();
  await Promise.all([over, before]);
  if (code !== 0) throw new Error(`SIGTERM ended with exit code ${code}`);
  await world.product.start();
}
