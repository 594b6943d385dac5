import type { Link } from './link.js';
import type { Script } from './scripts.js';
import type { Topology } from './topology.js';

type Checked = { readonly ok: true } | { readonly ok: false; readonly sentence: string };

const OK: Checked = { ok: true };
const OLDEST = [6, 2] as const;
const SLOTS = 16_384;

/** Whether this Redis can be trusted with money. Each sentence says what was found and what to set. */
export async function checkRedis(topology: Topology, script: Script): Promise<Checked> {
  try {
    await topology.refresh();
  } catch {
    return wrong('The Redis cluster in REDIS_URL does not answer. Check the addresses, the password, and that cluster mode is on.');
  }
  for (const link of topology.links()) {
    const checked = await checkLink(link, script, topology.cluster);
    if (!checked.ok) return checked;
  }
  return OK;
}

async function checkLink(link: Link, script: Script, cluster: boolean): Promise<Checked> {
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
  if (info.get('role') !== 'master') return wrong(`${at} is a replica and takes no writes. Set REDIS_URL to its primary.`);
  if (!cluster && info.get('cluster_enabled') === '1') {
    return wrong(`${at} is part of a cluster. Write REDIS_URL as redis-cluster://host:port,host:port.`);
  }
  const policy = await policyOf(link);
  if (policy !== 'noeviction') {
    return wrong(`${at} may throw balances away (maxmemory-policy is ${policy}). Set maxmemory-policy to noeviction.`);
  }
  try {
    await link.run(script, [], ['0']);
  } catch (error) {
    return wrong(`${at} does not run scripts (${String(error).slice(0, 120)}). Allow EVAL, EVALSHA and what is in them for this user.`);
  }
  return cluster ? checkSlots(link) : OK;
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
