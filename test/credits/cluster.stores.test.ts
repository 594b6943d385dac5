import { createRedisStore } from '../../src/credits/redis/store.js';
import { startRedisCluster } from '../support/redis.js';
import { describeCreditStore } from './contract.js';

describeCreditStore('the Redis store on a cluster', async () => {
  const cluster = await startRedisCluster();
  const store = createRedisStore({ url: cluster.url, commandTimeoutMs: 5_000 });
  const close = async (): Promise<void> => {
    await store.close();
    await cluster.stop();
  };
  return { store, wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)), nowMs: () => Date.now(), close };
});
