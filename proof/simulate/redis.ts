import { createRedisStore } from '../../src/credits/redis/store.js';
import { command, startRedis } from '../../test/support/redis.js';
import { ask } from './calls.js';
import type { Plant, Subject } from './subject.js';

/**
 * A real Redis of its own. Not simulated there: the server's clock. Leases are a thousand times as long as the run's and
 * a tick moves every deadline back by a thousand times as much, so the real time an episode takes never decides who is
 * due. A rollback is a copy of all keys put back under the run id of a server that is gone. Calls reach the store when
 * the script says; cut connections and timeouts of the client itself belong to the tests of the store.
 */
export async function redisSubject({ wrap = (store) => store, habit }: Plant = {}): Promise<Subject> {
  const server = await startRedis();
  const real = createRedisStore({ url: server.url, commandTimeoutMs: 20_000 });
  const store = wrap(real);
  const run = async (script: string, ...args: readonly string[]): Promise<void> => {
    await command(server.port, 'EVAL', script, '0', ...args);
  };
  return {
    scale: SCALE,
    habits: new Set(habit ? [habit] : []),
    execute: (call) => ask(store, call.verb === 'trim' ? { verb: 'trim', command: { ...call.command, keepMs: 0 } } : call),
    inspect: (orgId) => store.inspect(orgId),
    shards: () => store.shards(),
    reset: () => run("redis.call('FLUSHALL') return 'OK'"),
    advance: (ms) => run(ADVANCE, String(ms * SCALE)),
    wipe: () => run(WIPE),
    snapshot: () => run(SNAPSHOT),
    rollback: () => run(`${WIPE_ALL}${ROLLBACK}`, '0'.repeat(40)),
    damage: ({ key, id, how }) => run(DAMAGE, `{${id.slice(4, 6)}}:${key}:${id}`, how, key === 'org' ? 'balance' : 'terms'),
    close: async () => {
      await store.close();
      await server.stop();
    },
  };
}

const SCALE = 1_000;

const ADVANCE = `
  for _, key in ipairs(redis.call('KEYS', '*deadlines')) do
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do redis.call('ZADD', key, string.format('%.0f', all[i + 1] - ARGV[1]), all[i]) end
  end
  return 'OK'`;

const DAMAGE = `
  if ARGV[2] == 'evicted' then redis.call('DEL', ARGV[1]) else redis.call('HSET', ARGV[1], ARGV[3], '1e3|-5|NaN|abc') end
  return 'OK'`;

const WIPE_ALL = `
  for _, key in ipairs(redis.call('KEYS', '{*')) do redis.call('DEL', key) end`;
const WIPE = `${WIPE_ALL}
  return 'OK'`;

const SNAPSHOT = `
  for _, key in ipairs(redis.call('KEYS', 'kept:*')) do redis.call('DEL', key) end
  for _, key in ipairs(redis.call('KEYS', '{*')) do redis.call('COPY', key, 'kept:' .. key) end
  return 'OK'`;

const ROLLBACK = `
  for _, key in ipairs(redis.call('KEYS', 'kept:*')) do redis.call('COPY', key, string.sub(key, 6)) end
  for _, key in ipairs(redis.call('KEYS', '{*epoch')) do
    local number, rest = string.match(redis.call('GET', key), '^(%d+):%x+(:.*)$')
    redis.call('SET', key, number .. ':' .. ARGV[1] .. rest)
  end
  return 'OK'`;
