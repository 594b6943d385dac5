import { SHARDS } from '../../domain/ids.js';
import { StoreUnavailable } from '../commands.js';
import { createLink, type Link } from './link.js';

/** Which server has which shard. */
export interface Topology {
  readonly cluster: boolean;
  /** Undefined while nobody is known to have it. */
  linkOf(shard: string): Link | undefined;
  links(): readonly Link[];
  /** Learns again who has what; asked for when a server says that it is not the one. */
  refresh(): Promise<void>;
  close(): void;
}

export const allShards: readonly string[] = Array.from({ length: SHARDS }, (_, i) => String(i).padStart(2, '0'));

const CLUSTER_URL = /^(rediss?)-cluster:\/\/(?:([^@/]*)@)?([^/]+)\/?$/;

export function createTopology(url: string, commandTimeoutMs: number): Topology {
  const match = CLUSTER_URL.exec(url);
  return match
    ? clusterTopology({ scheme: match[1] ?? 'redis', login: match[2] ?? '', seeds: (match[3] ?? '').split(',') }, commandTimeoutMs)
    : singleTopology(url, commandTimeoutMs);
}

function singleTopology(url: string, commandTimeoutMs: number): Topology {
  const link = createLink({ address: addressOf(url), url }, commandTimeoutMs);
  return {
    cluster: false,
    linkOf: () => link,
    links: () => [link],
    refresh: async () => undefined,
    close: () => link.close(),
  };
}

/**
 * A connection of our own to each master, and commands sent to the one that has the shard. The library's cluster client
 * is not used: after a cut connection it sends a command again by itself.
 */
function clusterTopology(where: { scheme: string; login: string; seeds: readonly string[] }, commandTimeoutMs: number): Topology {
  const known = new Map<string, Link>();
  const owners = new Map<string, string>();
  let refreshing: Promise<void> | undefined;
  let closed = false;
  const connect = (address: string): Link => {
    const before = known.get(address);
    if (before) return before;
    const login = where.login ? `${where.login}@` : '';
    const link = createLink({ address, url: `${where.scheme}://${login}${address}` }, commandTimeoutMs);
    known.set(address, link);
    return link;
  };
  const refresh = async (): Promise<void> => {
    for (const address of new Set([...known.keys(), ...where.seeds])) {
      const ranges = await askSlots(connect(address)).catch(() => undefined);
      if (closed || !ranges || ranges.length === 0) continue;
      owners.clear();
      for (const shard of allShards) {
        const slot = crc16(shard) % 16_384;
        const range = ranges.find(({ from, to }) => from <= slot && slot <= to);
        if (range) owners.set(shard, range.address);
      }
      const masters = new Set(ranges.map((range) => range.address));
      for (const master of masters) connect(master);
      for (const [other, link] of known) {
        if (masters.has(other)) continue;
        known.delete(other);
        link.close();
      }
      return;
    }
    throw new StoreUnavailable('unreachable', where.seeds.join(','));
  };
  return {
    cluster: true,
    linkOf: (shard) => known.get(owners.get(shard) ?? ''),
    links: () => [...known.values()],
    refresh: () => {
      refreshing ??= refresh().finally(() => {
        refreshing = undefined;
      });
      return refreshing;
    },
    close: () => {
      closed = true;
      for (const link of known.values()) link.close();
    },
  };
}

interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly address: string;
}

async function askSlots(link: Link): Promise<readonly SlotRange[]> {
  await link.learn();
  const rows = (await link.redis.cluster('SLOTS')) as unknown as readonly (readonly [number, number, readonly [string | null, number]])[];
  const own = link.address.slice(0, link.address.lastIndexOf(':'));
  return rows.map(([from, to, [host, port]]) => ({ from, to, address: `${host && host !== '?' ? host : own}:${port}` }));
}

function addressOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'redis';
}

/** The checksum by which Redis Cluster spreads hash tags over its slots (XMODEM). */
function crc16(text: string): number {
  let crc = 0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
