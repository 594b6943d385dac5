import { shardOf } from '../../domain/ids.js';
import { checkHold, checkLease, checkSettle } from '../commands.js';
import type { CreditStore, SettleAnswer } from '../store.js';
import { amount, holdAnswer } from './answers.js';
import { checkRedis } from './check.js';
import { createEpochs } from './epochs.js';
import { unavailable } from './failures.js';
import { type Ask, createAsk, Lanes, type Reply } from './lanes.js';
import { createReading } from './reading.js';
import { batchScript } from './scripts.js';
import { createTelling } from './telling.js';
import { createTopology } from './topology.js';

export interface RedisStoreOptions {
  /** `redis://…`, `rediss://…`, or `redis-cluster://host:port,host:port`. */
  readonly url: string;
  readonly commandTimeoutMs?: number;
}

/** The hot store in Redis or Redis Cluster. Every change of a balance is one of the scripts in lua/. */
export function createRedisStore(options: RedisStoreOptions): CreditStore {
  const topology = createTopology(options.url, options.commandTimeoutMs ?? 1_000);
  const script = batchScript();
  const epochs = createEpochs(topology);
  const ask = createAsk(new Lanes({ topology, epochs, script }), epochs);
  return {
    ...spending(ask),
    ...createTelling(ask, topology, epochs),
    ...createReading(ask, topology, epochs),
    check: () => checkRedis(topology, script),
    close: async () => topology.close(),
  };
}

/** The hot path: one command each, on keys made of checked ids only. */
function spending(ask: Ask): Pick<CreditStore, 'hold' | 'extend' | 'settle' | 'rehold'> {
  return {
    hold: async (command) => {
      checkHold(command);
      const { orgId, tokenId, idempotencyKey } = command;
      const shard = shardOf(orgId);
      const keys = [...requestKeys(shard, orgId, tokenId), `{${shard}}:rate:${tokenId}`];
      if (idempotencyKey !== null) keys.push(`{${shard}}:claim:${tokenId}:${idempotencyKey}`);
      const fields = `${command.tokenVersion}|${command.orgVersion}|${command.amount}|${command.tokens}|${command.leaseMs}`;
      const texts = [command.requestId, orgId, tokenId, command.digest, command.note];
      return ask({ shard, verb: 'hold', keys, fields, texts }, holdAnswer);
    },
    extend: async (command) => {
      checkLease(command);
      const { orgId, tokenId } = command;
      const shard = shardOf(orgId);
      const fields = `${command.amount}|${command.floor}|${command.leaseMs}`;
      const keys = requestKeys(shard, orgId, tokenId).slice(0, 3);
      return ask({ shard, verb: 'extend', keys, fields, texts: [command.requestId, orgId, tokenId, command.note] }, (reply) => {
        if (reply[0] === 'gone') return { kind: 'gone' } as const;
        if (reply[0] !== 'extended' && reply[0] !== 'short') return unavailable('broken', true);
        return { kind: reply[0], amount: amount(reply[1]) } as const;
      });
    },
    settle: async (command) => {
      checkSettle(command);
      const { orgId, tokenId } = command;
      const shard = shardOf(orgId);
      const kind = command.kind === 'final' ? 'C' : 'F';
      const fields = `${kind}|${command.cost}|${command.ifDue ? 1 : 0}`;
      const keys = requestKeys(shard, orgId, tokenId);
      return ask({ shard, verb: 'settle', keys, fields, texts: [command.requestId, orgId, tokenId, command.event ?? ''] }, settleAnswer);
    },
    rehold: async (command) => {
      checkLease(command);
      const { orgId, tokenId } = command;
      const shard = shardOf(orgId);
      const fields = `${command.amount}|${command.floor}|${command.leaseMs}`;
      const keys = requestKeys(shard, orgId, tokenId);
      return ask({ shard, verb: 'rehold', keys, fields, texts: [command.requestId, orgId, tokenId, command.note] }, (reply) => {
        if (reply[0] !== 'held' && reply[0] !== 'settled') return unavailable('broken', true);
        return { kind: reply[0] } as const;
      });
    },
  };
}

function settleAnswer(reply: Reply, life: string): SettleAnswer {
  if (reply[0] === 'not_due') return { kind: 'not_due' };
  if (reply[0] !== 'settled') return unavailable('broken', true);
  return { kind: 'settled', remaining: amount(reply[1]), repeated: reply[2] === 'repeated', epoch: life };
}

function requestKeys(shard: string, orgId: string, tokenId: string): string[] {
  const tag = `{${shard}}:`;
  return [`${tag}org:${orgId}`, `${tag}token:${tokenId}`, `${tag}holds:${orgId}`, `${tag}pend:${orgId}`];
}
