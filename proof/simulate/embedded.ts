import { createEmbeddedStore } from '../../src/credits/embedded/store.js';
import type { CreditStore, ShardState, Unavailable } from '../../src/credits/store.js';
import { type OrgId, shardOf } from '../../src/domain/ids.js';
import { type Answer, ask, type Call, shardOfCall } from './calls.js';
import type { Plant, Subject } from './subject.js';

const START_MS = 1_700_000_000_000;
const NOT_LOADED: Unavailable = { kind: 'unavailable', reason: 'not_loaded', maybeDone: false };

type Logged = { readonly atMs: number; readonly call: Call | 'fence' };

/**
 * The embedded store on a virtual clock. A process cannot be rolled back, but the contract must hold if it could: a stale
 * copy is made by repeating the calls up to the snapshot in a new store, which is then shown as `absent` until a reload.
 */
export function embeddedSubject({ wrap = (store) => store, habit }: Plant = {}): Subject {
  let nowMs = START_MS;
  let store: CreditStore = wrap(createEmbeddedStore({ clock: { nowMs: () => nowMs } }));
  let log: Logged[] = [];
  let kept: readonly Logged[] = [];
  let fenced = new Map<string, ShardState>();

  const fence = async (): Promise<void> => {
    const states = await store.shards();
    fenced = new Map(states.filter(({ state }) => state !== 'absent').map((one) => [one.shard, { ...one, state: 'absent', whole: false }]));
  };
  const run = async (call: Call): Promise<Answer> => {
    if (call.verb === 'shards') {
      return { kind: 'shards', shards: (await store.shards()).map((one) => fenced.get(one.shard) ?? one) };
    }
    const shard = shardOfCall(call) ?? '';
    const shown = fenced.get(shard);
    if (!shown) return ask(store, call);
    if (call.verb !== 'transition') return NOT_LOADED;
    if (call.command.from.epoch !== shown.epoch || call.command.to !== 'filling') return { kind: 'lost' };
    fenced.delete(shard);
    const from = (await store.shards()).find((one) => one.shard === shard) ?? shown;
    return ask(store, { verb: 'transition', command: { shard, from, to: 'filling' } });
  };
  /** The copy has epochs of its own; a move that was made is made again from wherever the copy stands. */
  const repeat = async (call: Call): Promise<void> => {
    if (call.verb !== 'transition') return void (await run(call));
    const from = ((await run({ verb: 'shards', command: null })) as { shards: readonly ShardState[] }).shards;
    const now = from.find((one) => one.shard === call.command.shard);
    if (now && now.state === call.command.from.state && now.whole === call.command.from.whole)
      await run({ verb: 'transition', command: { ...call.command, from: now } });
  };
  /** A trim and a load name the life of the data they are meant for; in the log they only say whether that was the one. */
  const logged = async (call: Call): Promise<Call | undefined> => {
    if (call.verb !== 'trim' && call.verb !== 'load') return call;
    const { verb, command } = call;
    const now = (await store.shards()).find((one) => one.shard === command.shard);
    if (now?.epoch !== command.epoch) return undefined;
    return { verb, command: { ...command, epoch: undefined } } as Call;
  };
  const fresh = (): void => {
    store = wrap(createEmbeddedStore({ clock: { nowMs: () => nowMs } }));
    fenced = new Map();
    log = [];
  };
  return {
    scale: 1,
    habits: new Set(habit ? [habit] : []),
    execute: async (call) => {
      const answer = await run(call);
      const line = call.verb === 'shards' || answer.kind === 'lost' ? undefined : await logged(call);
      if (line) log.push({ atMs: nowMs, call: line });
      return answer;
    },
    inspect: async (orgId: OrgId) => (fenced.has(shardOf(orgId)) ? NOT_LOADED : store.inspect(orgId)),
    shards: async () => (await store.shards()).map((one) => fenced.get(one.shard) ?? one),
    reset: async () => {
      nowMs = START_MS;
      kept = [];
      fresh();
    },
    advance: async (ms) => {
      nowMs += ms;
    },
    wipe: async () => fresh(),
    snapshot: async () => {
      kept = [...log];
    },
    rollback: async () => {
      const present = nowMs;
      fresh();
      for (const { atMs, call } of kept) {
        nowMs = atMs;
        if (call === 'fence') await fence();
        else await repeat(call);
      }
      nowMs = present;
      log = [...kept, { atMs: present, call: 'fence' }];
      await fence();
    },
    close: async () => store.close(),
  };
}
