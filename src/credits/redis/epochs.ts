import { StoreUnavailable } from '../commands.js';
import type { ShardState } from '../store.js';
import type { Link } from './link.js';
import { createLook } from './looking.js';
import { keyParts } from './packet.js';
import { allShards, type Topology } from './topology.js';

/** What this process knows of one shard. */
export interface Slot {
  readonly shard: string;
  readonly epochKey: string;
  readonly deadlinesKey: string;
  readonly streamKey: string;
  /** All three as they are sent. */
  readonly keys: Buffer;
  /** Who is still to be loaded, and who of them is asked for: looked at only while it serves before all are. */
  readonly names: readonly [expected: string, wanted: string];
  readonly nameKeys: Buffer;
  /** `n:run_id:replid:layout` while the server's own words agree with it; '' = not known. */
  life: string;
  link: Link | undefined;
  generation: number;
  /** What was read last, and what that means: most of the time it says the same again. */
  last: { readonly raw: string | null; readonly identity: string; readonly state: ShardState } | undefined;
  /** Where it stands in the batch that is being packed. */
  batch: number;
  ordinal: number;
}

export interface Epochs {
  slot(shard: string): Slot;
  /** Reads the epoch again; everybody who asks at the same time shares one answer. */
  read(slot: Slot): Promise<ShardState>;
  readAll(): Promise<readonly ShardState[]>;
}

/** How the scripts of this version lay out what they keep; what was laid out otherwise is not read, but loaded anew. */
export const LAYOUT = '2';

const EPOCH = /^(\d+:([0-9a-f]{40}:[0-9a-f]{40}):2):(open|serving|filling)$/;

/** Whether what is known was learnt on the connection that is in use now. */
export const isLive = (slot: Slot): boolean => slot.life !== '' && slot.link?.generation() === slot.generation;

/**
 * The epoch names one life of the data: a number, the run id and replication id of the server that had it, the layout. If the
 * live server says anything else it was wiped, replaced or rolled back, whatever its keys look like.
 */
export function createEpochs(topology: Topology): Epochs {
  const slots = new Map<string, Slot>();
  const look = createLook();
  let seen: { readonly text: string; readonly generation: number; readonly states: readonly ShardState[] } | undefined;
  const reading = new Map<string, Promise<ShardState>>();
  for (const shard of allShards) slots.set(shard, newSlot(shard));

  const linkFor = async (slot: Slot): Promise<Link> => {
    const link = topology.linkOf(slot.shard);
    if (link && !topology.cluster) return link;
    if (!link?.isReady()) await topology.refresh();
    const found = topology.linkOf(slot.shard);
    if (!found) throw new StoreUnavailable('unreachable', `shard ${slot.shard}`);
    return found;
  };

  const readOnce = async (slot: Slot): Promise<ShardState> => {
    const link = await linkFor(slot);
    const identity = await link.learn();
    const { generation } = { generation: link.generation() };
    return note(slot, link, generation, identity, await link.redis.get(slot.epochKey));
  };

  return {
    slot: (shard) => slots.get(shard) as Slot,
    read: (slot) => {
      let promise = reading.get(slot.shard);
      if (!promise) {
        promise = readOnce(slot).finally(() => reading.delete(slot.shard));
        reading.set(slot.shard, promise);
      }
      return promise;
    },
    readAll: async () => {
      const [link] = topology.links();
      if (topology.cluster) await topology.refresh();
      else if (link) {
        const generation = link.generation();
        const text = await look(link);
        if (text !== undefined && seen?.text === text && seen.generation === generation) return seen.states;
        const states = await readLink(topology, link, slots);
        seen = text === undefined ? undefined : { text, generation, states };
        return states;
      }
      const states = new Map<string, ShardState>();
      const failures: unknown[] = [];
      await Promise.all(
        topology.links().map(async (link) => {
          try {
            for (const state of await readLink(topology, link, slots)) states.set(state.shard, state);
          } catch (error) {
            failures.push(error);
          }
        }),
      );
      if (states.size === 0) throw failures[0] ?? new StoreUnavailable('unreachable', 'shards');
      return allShards.map((shard) => states.get(shard) ?? { shard, state: 'absent', whole: false, epoch: '' });
    },
  };
}

async function readLink(topology: Topology, link: Link, slots: ReadonlyMap<string, Slot>): Promise<readonly ShardState[]> {
  const mine = [...slots.values()].filter((slot) => topology.linkOf(slot.shard) === link);
  const identity = await link.learn(true);
  const generation = link.generation();
  const epochs = topology.cluster ? await oneByOne(link, mine) : await link.redis.mget(mine.map(({ epochKey }) => epochKey));
  return mine.map((slot, i) => note(slot, link, generation, identity, epochs[i] ?? null));
}

/** Every gateway looks several times a second, so it matters that two hundred keys are one command. In a cluster they cannot be. */
async function oneByOne(link: Link, slots: readonly Slot[]): Promise<readonly (string | null)[]> {
  const pipeline = link.redis.pipeline();
  for (const slot of slots) pipeline.get(slot.epochKey);
  const replies = (await pipeline.exec()) ?? [];
  return slots.map((_slot, i) => {
    const [error, raw] = replies[i] ?? [new StoreUnavailable('unreachable', link.address)];
    if (error) throw error;
    return typeof raw === 'string' ? raw : null;
  });
}

function note(slot: Slot, link: Link, generation: number, identity: string, raw: string | null): ShardState {
  const { last } = slot;
  const isSame = last !== undefined && last.raw === raw && last.identity === identity;
  const state = isSame ? last.state : stateOf(slot.shard, identity, raw);
  if (!isSame) slot.last = { raw, identity, state };
  slot.life = state.state === 'absent' ? '' : state.epoch;
  slot.link = link;
  slot.generation = generation;
  return state;
}

function stateOf(shard: string, identity: string, raw: string | null): ShardState {
  const [, life = '', named, word] = EPOCH.exec(raw ?? '') ?? [];
  if (named !== identity || word === undefined) return { shard, state: 'absent', whole: false, epoch: raw ?? '' };
  return { shard, state: word === 'filling' ? word : 'open', whole: word === 'open', epoch: life };
}

function newSlot(shard: string): Slot {
  const tag = `{${shard}}`;
  const names = [`${tag}:expected`, `${tag}:wanted`] as const;
  return {
    shard,
    epochKey: `${tag}:epoch`,
    deadlinesKey: `${tag}:deadlines`,
    streamKey: `${tag}:stream`,
    keys: keyParts(['epoch', 'deadlines', 'stream'].map((name) => `${tag}:${name}`)),
    names,
    nameKeys: keyParts(names),
    life: '',
    link: undefined,
    generation: -1,
    last: undefined,
    batch: 0,
    ordinal: 0,
  };
}
