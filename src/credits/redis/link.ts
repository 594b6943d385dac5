import { type Command, Redis, type RedisOptions } from 'ioredis';
import { StoreUnavailable } from '../commands.js';
import { failureOf } from './failures.js';
import type { Script } from './scripts.js';

/** One connection to one server. */
export interface Link {
  readonly address: string;
  readonly redis: Redis;
  /** Counts connections: what was learnt on one of them says nothing about the server behind the next. */
  generation(): number;
  isReady(): boolean;
  /** `run_id:replication id` of the server behind this connection. */
  learn(fresh?: boolean): Promise<string>;
  /** `pack` writes the call anew for each time it is sent. */
  run(script: Script, pack: (name: string, body: string) => Command): Promise<unknown>;
  /** Gives up on a connection that no longer answers. */
  reset(): void;
  close(): void;
}

const RECONNECT_MAX_MS = 500;
const IDENTITY = /^run_id:([0-9a-f]{40})/m;
const REPLICATION = /^master_replid:([0-9a-f]{40})/m;

/**
 * Every option here is about money: by default the client sends a command again after a cut connection, and keeps
 * commands in a queue without end while the server is away.
 */
function optionsFor(commandTimeoutMs: number) {
  return {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeoutMs,
    connectTimeout: commandTimeoutMs * 2,
    disconnectTimeout: 50,
    retryStrategy: (times: number) => Math.min(times * 25, RECONNECT_MAX_MS),
    autoResubscribe: false,
    protocol: 2,
    connectionName: 'farebox',
    disableClientInfo: true,
  } satisfies RedisOptions;
}

export function createLink(target: { readonly address: string; readonly url: string }, commandTimeoutMs: number): Link {
  const redis = new Redis(target.url, optionsFor(commandTimeoutMs));
  let generation = 0;
  let wasReady = false;
  let identity: { readonly generation: number; readonly promise: Promise<string> } | undefined;
  redis.on('error', () => undefined); // every command says for itself that it failed
  redis.on('ready', () => {
    wasReady = true;
  });
  redis.on('close', () => {
    generation += 1;
  });

  /** Only the very first connection is waited for; afterwards an absent server is said at once. */
  const firstReady = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(), commandTimeoutMs);
      const done = (): void => {
        clearTimeout(timer);
        redis.off('close', fail);
        resolve();
      };
      const fail = (): void => {
        clearTimeout(timer);
        redis.off('ready', done);
        reject(new StoreUnavailable('unreachable', target.address));
      };
      redis.once('ready', done);
      redis.once('close', fail);
    });

  const ask = async (): Promise<string> => {
    if (redis.status !== 'ready' && !wasReady) await firstReady();
    const [server, replication] = await Promise.all([redis.info('server'), redis.info('replication')]);
    return `${IDENTITY.exec(server)?.[1] ?? ''}:${REPLICATION.exec(replication)?.[1] ?? ''}`;
  };

  return {
    address: target.address,
    redis,
    generation: () => generation,
    isReady: () => redis.status === 'ready',
    learn: (fresh = false) => {
      if (!fresh && identity?.generation === generation) return identity.promise;
      const promise = ask();
      const mine = { generation, promise };
      identity = mine;
      promise.catch(() => {
        if (identity === mine) identity = undefined;
      });
      return promise;
    },
    run: (script, pack) => {
      const send = (name: string, body: string): Promise<unknown> => redis.sendCommand(pack(name, body)) as Promise<unknown>;
      // NOSCRIPT means that nothing ran, so sending it once more, with its text, is safe.
      return send('evalsha', script.sha).catch((error) => {
        if (!isNoScript(error)) throw error;
        return send('eval', script.source);
      });
    },
    reset: () => redis.disconnect(true),
    close: () => redis.disconnect(),
  };
}

const isNoScript = (error: unknown): boolean => failureOf(error).word === 'NOSCRIPT';
