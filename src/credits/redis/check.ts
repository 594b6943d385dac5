import type { Command } from 'ioredis';
import type { Task, Wire } from './lanes.js';
import type { Link } from './link.js';
import { Packet } from './packet.js';
import { allShards, type Topology } from './topology.js';

type Checked = { readonly ok: true } | { readonly ok: false; readonly sentence: string };

type AnyWire = Pick<Wire<Task>, 'script'> & { pack(batch: readonly never[], packet: Packet, name: string, body: string): Command };

const OK: Checked = { ok: true };
const OLDEST = [6, 2] as const;
const LAYOUT_1 = /^\d+:[0-9a-f]{40}:[0-9a-f]{40}:(?:open|filling)$/;
const SLOTS = 16_384;

/** Whether this Redis can be trusted with money. Each sentence says what was found and what to set. */
export async function checkRedis(topology: Topology, wires: readonly AnyWire[]): Promise<Checked> {
  try {
    await topology.refresh();
  } catch {
    return wrong('The Redis cluster in REDIS_URL does not answer. Check the addresses, the password, and that cluster mode is on.');
  }
  for (const link of topology.links()) {
    const checked = await checkLink(link, wires, topology.cluster);
    if (!checked.ok) return checked;
    const shards = allShards.filter((shard) => topology.linkOf(shard) === link);
    if (await hasOldRequests(link, shards)) {
      return wrong(
        `Redis at ${link.address} has requests of an earlier version of Farebox that are not booked yet. ` +
          'Start that version again without traffic, wait a minute, stop it, and then start this one.',
      );
    }
  }
  return OK;
}

async function checkLink(link: Link, wires: readonly AnyWire[], cluster: boolean): Promise<Checked> {
  const at = `Redis at ${link.address}`;
  let info: Map<string, string>;
  try {
    await link.learn(true);
    info = fieldsOf(`${await link.redis.info('server')}\n${await link.redis.info('replication')}\n${await link.redis.info('cluster')}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return wrong(`${at} does not answer (${why}). Check REDIS_URL, the password, and that the server is running.`);
  }
  const version = info.get('redis_version') ?? '';
  if (isOlder(version)) return wrong(`${at} is version ${version}; ${OLDEST.join('.')} or newer is needed. Upgrade it.`);
  if (info.get('arch_bits') !== '64') return wrong(`${at} is not a 64-bit server, so it cannot count large balances. Use a 64-bit one.`);
  if (info.get('role') !== 'master') return wrong(`${at} is a replica and takes no writes. Set REDIS_URL to its primary.`);
  if (!cluster && info.get('cluster_enabled') === '1') {
    return wrong(`${at} is part of a cluster. Write REDIS_URL as redis-cluster://host:port,host:port.`);
  }
  const policy = await policyOf(link);
  if (policy !== 'noeviction') {
    return wrong(`${at} may throw balances away (maxmemory-policy is ${policy}). Set maxmemory-policy to noeviction.`);
  }
  try {
    for (const wire of wires) await link.run(wire.script, (name, body) => wire.pack([], new Packet(), name, body));
  } catch (error) {
    return wrong(`${at} does not run scripts (${String(error).slice(0, 120)}). Allow EVAL, EVALSHA and what is in them for this user.`);
  }
  return cluster ? checkSlots(link) : OK;
}

/**
 * Layout 1 kept open holds and pending charges under keys that are not read any more. Once they are gone nothing is lost:
 * a shard in that layout counts as lost, and is loaded again from Postgres.
 */
async function hasOldRequests(link: Link, shards: readonly string[]): Promise<boolean> {
  const pipeline = link.redis.pipeline();
  for (const shard of shards) pipeline.get(`{${shard}}:epoch`);
  const epochs = (await pipeline.exec()) ?? [];
  if (!epochs.some(([, epoch]) => LAYOUT_1.test(String(epoch)))) return false;
  for (const match of ['{*}:holds:*', '{*}:pend:*']) {
    let cursor = '0';
    do {
      const [next, keys] = await link.redis.scan(cursor, 'MATCH', match, 'COUNT', 1_000);
      if (keys.length > 0) return true;
      cursor = next;
    } while (cursor !== '0');
  }
  return false;
}

/** Hosted Redis often forbids CONFIG; then INFO says the same. */
async function policyOf(link: Link): Promise<string> {
  try {
    const [, policy] = (await link.redis.config('GET', 'maxmemory-policy')) as string[];
    if (policy) return policy;
  } catch {
    // The next question needs no such right.
  }
  try {
    return fieldsOf(await link.redis.info('memory')).get('maxmemory_policy') ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

async function checkSlots(link: Link): Promise<Checked> {
  const info = fieldsOf(String(await link.redis.cluster('INFO')));
  const covered = Number(info.get('cluster_slots_ok') ?? 0);
  if (info.get('cluster_state') === 'ok' && covered === SLOTS) return OK;
  return wrong(
    `The cluster at ${link.address} covers ${covered} of ${SLOTS} slots and says it is ${info.get('cluster_state')}. Run redis-cli --cluster fix.`,
  );
}

function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const at = line.indexOf(':');
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1));
  }
  return fields;
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return !(major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]));
}

const wrong = (sentence: string): Checked => ({ ok: false, sentence });
