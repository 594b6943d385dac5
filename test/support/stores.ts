import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres.js';
import { startRedis } from './redis.js';

declare module 'vitest' {
  export interface ProvidedContext {
    redisUrl: string;
    databaseUrl: string;
  }
}

let stops: (() => Promise<unknown>)[] = [];

/** One private Redis and one private Postgres for a whole run; `inject('redisUrl')` and `inject('databaseUrl')` find them. */
export async function setup(project: TestProject): Promise<void> {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  stops = [() => redis.stop(), () => postgres.stop()];
  project.provide('redisUrl', redis.url);
  project.provide('databaseUrl', postgres.url);
}

export async function teardown(): Promise<void> {
  await Promise.all(stops.map((stop) => stop()));
}
