import { StoreUnavailable } from '../../src/credits/commands.js';
import type {
  AppliedAnswer,
  AppliedCommand,
  CreditStore,
  DueHold,
  ExpectedOrg,
  ExtendAnswer,
  ExtendCommand,
  HoldAnswer,
  HoldCommand,
  OrgSnapshot,
  OrgTerms,
  PendingAnswer,
  ProjectAnswer,
  ReholdAnswer,
  ReholdCommand,
  SettleAnswer,
  SettleCommand,
  ShardState,
  StreamEntry,
  TokenTerms,
  Unavailable,
} from '../../src/credits/store.js';
import { type OrgId, type RequestId, shardOf } from '../../src/domain/ids.js';

/** What can be asked of a store, as values that can wait, get lost, come twice and come late. */
export interface Commands {
  hold: HoldCommand;
  extend: ExtendCommand;
  settle: SettleCommand;
  rehold: ReholdCommand;
  project: { readonly org: OrgTerms } | { readonly token: TokenTerms };
  applied: AppliedCommand;
  due: { readonly shard: string; readonly limit: number };
  entries: { readonly shard: string; readonly after: string; readonly limit: number };
  trim: { readonly shard: string; readonly cursor: string; readonly keepMs: number; readonly epoch: string | undefined };
  pending: { readonly orgId: OrgId; readonly ids: readonly RequestId[] };
  shards: null;
  transition: { readonly shard: string; readonly from: ShardState; readonly to: 'filling' | 'serving' | 'open' };
  expect: { readonly shard: string; readonly accounts: readonly ExpectedOrg[] };
  load: { readonly shard: string; readonly orgs: readonly OrgSnapshot[]; readonly epoch: string | undefined };
}

export interface Answers {
  hold: HoldAnswer;
  extend: ExtendAnswer;
  settle: SettleAnswer;
  rehold: ReholdAnswer;
  project: ProjectAnswer;
  applied: AppliedAnswer;
  due: { readonly kind: 'due'; readonly holds: readonly DueHold[] } | Unavailable;
  entries: { readonly kind: 'entries'; readonly entries: readonly StreamEntry[] } | Unavailable;
  trim: { readonly kind: 'trimmed' } | Unavailable;
  pending: PendingAnswer;
  shards: { readonly kind: 'shards'; readonly shards: readonly ShardState[] } | Unavailable;
  transition: { readonly kind: 'moved' } | { readonly kind: 'lost' } | Unavailable;
  expect: { readonly kind: 'expected' } | Unavailable;
  load: { readonly kind: 'loaded' } | Unavailable;
}

export type Verb = keyof Commands;
export type Call = { [V in Verb]: { readonly verb: V; readonly command: Commands[V] } }[Verb];
export type Answer = Answers[Verb];

/** Asks a store; "cannot answer" is one answer, whether it was returned or thrown. */
export async function ask(store: CreditStore, call: Call): Promise<Answer> {
  try {
    return await put(store, call);
  } catch (error) {
    if (error instanceof StoreUnavailable) return { kind: 'unavailable', reason: error.reason, maybeDone: false };
    throw error;
  }
}

async function put(store: CreditStore, { verb, command }: Call): Promise<Answer> {
  switch (verb) {
    case 'hold':
      return store.hold(command);
    case 'extend':
      return store.extend(command);
    case 'settle':
      return store.settle(command);
    case 'rehold':
      return store.rehold(command);
    case 'project':
      return store.project(command);
    case 'applied':
      return store.applied(command);
    case 'due':
      return { kind: 'due', holds: await store.due(command.shard, command.limit) };
    case 'entries':
      return { kind: 'entries', entries: await store.entries(command.shard, command.after, command.limit) };
    case 'trim':
      await store.trim(command.shard, command.cursor, command.keepMs, command.epoch);
      return { kind: 'trimmed' };
    case 'pending':
      return store.pending(command.orgId, command.ids);
    case 'shards':
      return { kind: 'shards', shards: await store.shards() };
    case 'transition':
      return { kind: (await store.transition(command.shard, command.from, command.to)) ? 'moved' : 'lost' };
    case 'expect':
      if (!(await store.expect(command.shard, command.accounts))) throw new Error('names were lost, and nobody here deletes any');
      return { kind: 'expected' };
    case 'load':
      await store.load(command.shard, command.orgs, command.epoch);
      return { kind: 'loaded' };
  }
}

/** The shard a call is about; undefined when it is about all of them. */
export function shardOfCall({ verb, command }: Call): string | undefined {
  switch (verb) {
    case 'shards':
      return undefined;
    case 'due':
    case 'entries':
    case 'trim':
    case 'transition':
    case 'expect':
    case 'load':
      return command.shard;
    case 'project':
      return shardOf('org' in command ? command.org.orgId : command.token.orgId);
    default:
      return shardOf(command.orgId);
  }
}

/** `filling` and `open` of one reload are the same life of the data. */
export const lifeOf = (epoch: string): string => epoch.replace(/:(?:filling|serving|open)$/, '');

export const TIMEOUT: Unavailable = { kind: 'unavailable', reason: 'timeout', maybeDone: true };
export const UNREACHABLE: Unavailable = { kind: 'unavailable', reason: 'unreachable', maybeDone: false };
