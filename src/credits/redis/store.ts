import type { CreditStore } from '../store.js';
import { createAsk, questionWire } from './asking.js';
import { checkRedis } from './check.js';
import { createEpochs } from './epochs.js';
import { Lanes } from './lanes.js';
import { createReading } from './reading.js';
import { createSpending, spendWire } from './spending.js';
import { createTelling } from './telling.js';
import { createTopology } from './topology.js';

export interface RedisStoreOptions {
  /** `redis://…`, `rediss://…`, or `redis-cluster://host:port,host:port`. */
  readonly url: string;
  readonly commandTimeoutMs?: number;
}

/** The hot store in Redis or Redis Cluster. Every change of a balance is one of the scripts in lua/. */
export function createRedisStore(options: RedisStoreOptions): CreditStore {
  const topology = createTopology(options.url, options.commandTimeoutMs ?? 1_000);
  const epochs = createEpochs(topology);
  const [questions, spends] = [questionWire(), spendWire()];
  const ask = createAsk(new Lanes({ topology, epochs, wire: questions }), epochs);
  return {
    ...createSpending(new Lanes({ topology, epochs, wire: spends }), epochs),
    ...createTelling(ask, topology, epochs),
    ...createReading(ask, topology, epochs),
    check: () => checkRedis(topology, [questions, spends]),
    close: async () => topology.close(),
  };
}
