import { createRedisStore } from '../../src/credits/redis/store.js';
import { startRedis } from '../support/redis.js';
import { describeCreditStore } from './contract.js';

describeCreditStore('the Redis store', async () => {
  const redis = await startRedis();
  const store = createRedisStore({ url: redis.url, commandTimeoutMs: 5_000 });
  const close = async (): Promise<void> => {
    await store.close();
    await redis.stop();
  };
  return { store, wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)), nowMs: () => Date.now(), close };
});
