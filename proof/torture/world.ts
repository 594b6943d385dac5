import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { command, type RedisServer, startRedis } from '../../test/support/redis.js';
import { startUpstreamProcess, type UpstreamProcess } from '../../test/support/upstream-process.js';
import { removeAtExit, undoAtExit } from '../leftovers.js';
import { type Customer, createProduct, type Product } from '../product.js';
import type { Random } from '../random.js';
import { createPostgres, type PrivatePostgres } from './postgres.js';
import { type FaultProxy, startFaultProxy } from './proxy.js';

/** One whole installation, private to this run: two gateways, an office, Redis with AOF, Postgres, an upstream, proxies between them. */
export interface World {
  readonly product: Product;
  readonly redis: RedisServer;
  readonly redisDir: string;
  readonly postgres: PrivatePostgres;
  readonly upstream: UpstreamProcess;
  readonly redisProxy: FaultProxy;
  readonly postgresProxy: FaultProxy;
  readonly upstreamProxy: FaultProxy;
  readonly customer: Customer;
  readonly random: Random;
  /** A small file system of its own under the journals, when mounting is permitted here. */
  readonly journalDisk: string | null;
  /** A file that says by how many milliseconds the server's time of day is ahead. */
  readonly clock: string;
  /** Processes of the server that were really killed. */
  readonly toll: { kills: number };
  command(...words: string[]): Promise<string>;
  remove(): Promise<void>;
}

export const CREDITS = 10_000_000;

/** Short leases, so that a request whose owner vanished is ended within seconds. */
const config = (upstream: number) => ({
  credits: { value: '0.01 USD', base: 200, trial: 0 },
  server: { gateway_processes: 2, log_level: 'info' },
  gateway: { lease: '6s', heartbeat: '1s', drain: '60s' },
  upstreams: { fake: { base_url: `http://127.0.0.1:${upstream}/v1`, api_key: 'upstream-secret', models: ['fake-*'] } },
  models: { 'fake-model': { ratio: 1, output: '4x', cached: '0.5x' } },
});

export async function createWorld(random: Random, built = false): Promise<World> {
  const undo: (() => Promise<unknown> | unknown)[] = [];
  const remove = async (): Promise<void> => {
    for (const step of undo.reverse()) await Promise.resolve(step()).catch(() => undefined);
  };
  try {
    const redisDir = mkdtempSync(join(tmpdir(), 'farebox-proof-redis-'));
    undo.push(removeAtExit(redisDir));
    const args = ['--appendfsync', 'everysec', '--enable-debug-command', 'yes'];
    const redis = await startRedis({ appendonly: true, dir: redisDir, args });
    undo.push(() => redis.stop());
    const postgres = await createPostgres();
    undo.push(() => postgres.remove());
    await postgres.start();
    const upstream = await startUpstreamProcess();
    undo.push(() => upstream.kill());
    const redisProxy = await startFaultProxy(redis.port, 'redis');
    const postgresProxy = await startFaultProxy(postgres.port, 'postgres');
    const upstreamProxy = await startFaultProxy(upstream.port, 'bytes');
    for (const proxy of [redisProxy, postgresProxy, upstreamProxy]) undo.push(() => proxy.stop());
    const clock = join(redisDir, 'clock');
    const product = await createProduct({
      config: config(upstreamProxy.port),
      redisUrl: `redis://127.0.0.1:${redisProxy.port}`,
      databaseUrl: `postgres://farebox@127.0.0.1:${postgresProxy.port}/postgres`,
      built,
      env: { NODE_OPTIONS: `--import=${new URL('../moving-clock.mjs', import.meta.url).href}`, MOVING_CLOCK: clock },
    });
    const journalDisk = mountSmallDisk(join(product.data, 'journal'));
    undo.push(() => product.remove());
    if (journalDisk) undo.push(undoAtExit(() => execFileSync('umount', ['-l', journalDisk], { stdio: 'ignore' })));
    undo.push(() => product.kill());
    await product.start();
    const customer = await product.customer(CREDITS);
    const run = (...words: string[]) => command(redis.port, ...words);
    return {
      product,
      redis,
      redisDir,
      postgres,
      upstream,
      redisProxy,
      postgresProxy,
      upstreamProxy,
      customer,
      random,
      journalDisk,
      clock,
      toll: { kills: 0 },
      command: run,
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

function mountSmallDisk(folder: string): string | null {
  mkdirSync(folder, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'farebox-proof', folder], { stdio: 'ignore' });
    return folder;
  } catch {
    return null;
  }
}
