import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../../domain/clock.js';
import type { MicroCredits } from '../../domain/credits.js';
import { type OrgId, type RequestId, SHARDS, shardOf, type TokenId } from '../../domain/ids.js';
import {
  checkApplied,
  checkExpected,
  checkHold,
  checkLease,
  checkOrgId,
  checkOrgTerms,
  checkSettle,
  checkShard,
  checkSnapshot,
  checkTokenId,
  checkTokenTerms,
  checkWhole,
  StoreUnavailable,
} from '../commands.js';
import type { CreditStore, DueHold, OrgState, PendingAnswer, ShardState } from '../store.js';
import { spendableOf } from './room.js';
import { createSpending, type Spending } from './spend.js';
import { type Hold, NOT_LOADED, newShard, type Org, type Shard, stateFor } from './state.js';
import { createStream, type Stream } from './stream.js';
import { applied, load, lookup, project } from './terms.js';

export interface EmbeddedStoreOptions {
  readonly clock?: Clock;
  /** Memory for settled charges that Postgres does not have yet; beyond it the answer is `full`. */
  readonly streamBytesMax?: number;
}

type Reading = Pick<CreditStore, 'due' | 'entries' | 'trim' | 'pending' | 'inspect'>;

const STREAM_BYTES_MAX = 256 * 1024 * 1024;

/**
 * The hot store inside the process. One thread runs one verb at a time, which is what makes each of them atomic. It starts
 * empty, with every shard `absent`, exactly like an empty Redis: whoever starts it loads it from Postgres.
 */
export function createEmbeddedStore(options: EmbeddedStoreOptions = {}): CreditStore {
  const clock = options.clock ?? systemClock;
  const stream = createStream(options.streamBytesMax ?? STREAM_BYTES_MAX);
  const shards = new Map<string, Shard>();
  for (let i = 0; i < SHARDS; i++) shards.set(String(i).padStart(2, '0'), newShard(String(i).padStart(2, '0')));
  const shard = (name: string): Shard => {
    checkShard(name);
    return shards.get(name) as Shard;
  };
  const nowMs = (): number => clock.nowMs();
  const spending = createSpending({ shard, stream, nowMs });
  return {
    ...moving(spending),
    ...telling(shard, nowMs),
    ...reading(shard, stream, nowMs),
    ...living(shard, [...shards.values()]),
    check: async () => ({ ok: true }),
    close: async () => undefined,
  };
}

function moving(spending: Spending): Pick<CreditStore, 'hold' | 'extend' | 'settle' | 'rehold'> {
  return {
    hold: async (command) => {
      checkHold(command);
      return spending.hold(command);
    },
    extend: async (command) => {
      checkLease(command);
      return spending.extend(command);
    },
    settle: async (command) => {
      checkSettle(command);
      return spending.settle(command);
    },
    rehold: async (command) => {
      checkLease(command);
      return spending.rehold(command);
    },
  };
}

function telling(
  shard: (name: string) => Shard,
  nowMs: () => number,
): Pick<CreditStore, 'lookup' | 'project' | 'applied' | 'expect' | 'wanted' | 'load'> {
  return {
    lookup: async (tokenId) => {
      checkTokenId(tokenId);
      return lookup(shard(shardOf(tokenId)), tokenId);
    },
    project: async (terms) => {
      if ('org' in terms) checkOrgTerms(terms.org);
      else checkTokenTerms(terms.token);
      return project(shard(shardOf('org' in terms ? terms.org.orgId : terms.token.orgId)), terms);
    },
    applied: async (command) => {
      checkApplied(command);
      return applied(shard(shardOf(command.orgId)), command, nowMs());
    },
    expect: async (name, accounts) => {
      const one = shard(name);
      for (const account of accounts) checkExpected(name, account);
      if (one.state !== 'filling') throw new StoreUnavailable('not_loaded', `shard ${name} is not being filled`);
      one.expected ??= new Map();
      for (const { orgId, tokenIds } of accounts) for (const id of [orgId, ...tokenIds]) one.expected.set(id, orgId);
      return true;
    },
    wanted: async (name, limit) => {
      checkWhole('limit', limit, 10_000);
      const { wanted } = shard(name);
      const first = [...wanted].slice(0, limit);
      for (const orgId of first) wanted.delete(orgId);
      return first;
    },
    load: async (name, orgs, epoch) => {
      const one = shard(name);
      for (const snapshot of orgs) checkSnapshot(name, snapshot);
      if (one.state !== 'filling' && !one.serving) throw new StoreUnavailable('not_loaded', `shard ${name} is not being filled`);
      if (epoch !== undefined && epoch !== one.epoch) throw new StoreUnavailable('not_loaded', `shard ${name} has another life`);
      for (const snapshot of orgs) load(one, snapshot);
    },
  };
}

function reading(shard: (name: string) => Shard, stream: Stream, nowMs: () => number): Reading {
  return {
    due: async (name, limit) => due(shard(name), limit, nowMs()),
    entries: async (name, after, limit) => stream.after(shard(name), after, limit),
    trim: async (name, cursor, keepMs, epoch) => {
      checkWhole('keepMs', keepMs, Number.MAX_SAFE_INTEGER);
      const one = shard(name);
      if (epoch === undefined || epoch === one.epoch) stream.trim(one, cursor, keepMs, nowMs());
    },
    pending: async (orgId, requestIds) => {
      checkOrgId(orgId);
      return pending(shard(shardOf(orgId)), orgId, requestIds);
    },
    inspect: async (orgId) => {
      checkOrgId(orgId);
      const one = shard(shardOf(orgId));
      if (stateFor(one, orgId) !== 'open') return NOT_LOADED;
      return inspect(one.orgs.get(orgId), orgId);
    },
  };
}

function living(shard: (name: string) => Shard, all: readonly Shard[]): Pick<CreditStore, 'shards' | 'transition'> {
  const life = randomBytes(8).toString('hex');
  let lives = 0;
  return {
    shards: async () => all.map(stateOf),
    transition: async (name, from, to) => {
      const one = shard(name);
      const now = stateOf(one);
      if (now.state !== from.state || now.whole !== from.whole || now.epoch !== from.epoch) return false;
      if (to !== 'filling' && one.state !== 'filling' && (to === 'serving' || !one.serving)) return false;
      if (to === 'filling') {
        lives += 1;
        one.epoch = `${lives}:${life}:embedded`;
      }
      if (to !== 'serving') {
        one.expected = undefined;
        one.wanted.clear();
      }
      one.serving = to === 'serving';
      one.state = to === 'filling' ? 'filling' : 'open';
      return true;
    },
  };
}

const stateOf = ({ name, state, serving, epoch }: Shard): ShardState => ({
  shard: name,
  state,
  whole: state === 'open' && !serving,
  epoch,
});

function due(shard: Shard, limit: number, nowMs: number): readonly DueHold[] {
  if (shard.state !== 'open') return [];
  const found: (DueHold & { readonly deadlineMs: number })[] = [];
  for (const [orgId, org] of shard.orgs) {
    for (const [requestId, held] of org.holds) if (held.deadlineMs <= nowMs) found.push(holdOut(orgId, requestId, held));
  }
  found.sort((a, b) => a.deadlineMs - b.deadlineMs || (`${a.orgId}${a.requestId}` < `${b.orgId}${b.requestId}` ? -1 : 1));
  return found.slice(0, limit).map(({ deadlineMs: _, ...hold }) => hold);
}

function pending(shard: Shard, orgId: OrgId, requestIds: readonly RequestId[]): PendingAnswer {
  if (shard.state !== 'open') return NOT_LOADED;
  const org = shard.orgs.get(orgId);
  return { kind: 'pending', ids: requestIds.filter((id) => org?.pending.has(id)), epoch: shard.epoch };
}

function inspect(org: Org | undefined, orgId: OrgId): OrgState | undefined {
  if (!org?.balance || !org.terms) return undefined;
  return {
    balance: { ...org.balance },
    termsVersion: org.terms.version,
    overdraft: org.terms.overdraft,
    held: org.held as MicroCredits,
    pend: org.pend as MicroCredits,
    spendable: spendableOf(org, org.balance) as MicroCredits,
    holds: [...org.holds].map(([requestId, held]) => holdOut(orgId, requestId, held)),
    pending: [...org.pending].map(([requestId, { tokenId, kind, cost }]) => ({ requestId, tokenId, kind, cost: cost as MicroCredits })),
  };
}

function holdOut(orgId: OrgId, requestId: RequestId, held: Hold): DueHold & { readonly deadlineMs: number } {
  const { tokenId, amount, floor, note, deadlineMs } = held;
  return { requestId, orgId, tokenId: tokenId as TokenId, amount: amount as MicroCredits, floor: floor as MicroCredits, note, deadlineMs };
}
