import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RedisServer, startRedis } from '../../test/support/redis.js';
import { startUpstreamProcess, type UpstreamProcess } from '../../test/support/upstream-process.js';
import { removeAtExit } from '../leftovers.js';
import { createProduct, type Product } from '../product.js';
import { createPostgres, type PrivatePostgres } from '../torture/postgres.js';

/** Some servers on one Redis and one Postgres, with nothing in between: for claims about what happens when nothing is hurt. */
export interface Installation {
  readonly products: readonly Product[];
  readonly redis: RedisServer;
  readonly postgres: PrivatePostgres;
  readonly upstream: UpstreamProcess;
  remove(): Promise<void>;
}

interface InstallationOptions {
  readonly servers?: number;
  /** Laid over the configuration of every server, one level deep. */
  readonly config?: Readonly<Record<string, Record<string, unknown>>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly built?: boolean;
  /** A Redis of the caller's own, e.g. a cluster. */
  readonly redisUrl?: string;
}

/** One secret for all servers: a token made by one is good for the others. */
const SECRET = 'proof-secret-that-is-long-enough-'.repeat(2);

export async function createInstallation(options: InstallationOptions = {}): Promise<Installation> {
  const undo: (() => Promise<unknown> | unknown)[] = [];
  const remove = async (): Promise<void> => {
    for (const step of undo.reverse()) await Promise.resolve(step()).catch(() => undefined);
  };
  try {
    const dir = mkdtempSync(join(tmpdir(), 'farebox-proof-redis-'));
    undo.push(removeAtExit(dir));
    const redis = await startRedis({ appendonly: true, dir, args: ['--appendfsync', 'everysec'] });
    undo.push(() => redis.stop());
    const postgres = await createPostgres();
    undo.push(() => postgres.remove());
    await postgres.start();
    const upstream = await startUpstreamProcess();
    undo.push(() => upstream.kill());
    const products: Product[] = [];
    for (let i = 0; i < (options.servers ?? 1); i++) {
      const product = await createProduct({
        config: configFor(upstream.url, options.config ?? {}),
        redisUrl: options.redisUrl ?? redis.url,
        databaseUrl: postgres.url,
        env: { FAREBOX_SECRET: SECRET, ...options.env },
        built: options.built ?? false,
      });
      undo.push(() => product.remove());
      await product.start();
      products.push(product);
    }
    return { products, redis, postgres, upstream, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

function configFor(upstream: string, over: Readonly<Record<string, Record<string, unknown>>>): Record<string, unknown> {
  const base: Record<string, Record<string, unknown>> = {
    credits: { value: '0.01 USD', base: 200, trial: 0 },
    server: { gateway_processes: 2, log_level: 'info' },
    upstreams: { fake: { base_url: upstream, api_key: 'upstream-secret', models: ['fake-*'] } },
    models: { 'fake-model': { ratio: 1, output: '4x', cached: '0.5x' }, 'fake-flat': { per: 'request', price: 10 } },
  };
  const names = new Set([...Object.keys(base), ...Object.keys(over)]);
  return Object.fromEntries([...names].map((name) => [name, { ...base[name], ...over[name] }]));
}
