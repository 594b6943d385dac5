import { isOrgId, type OrgId, shardOf, type TokenId } from '../../domain/ids.js';
import { checkOrgId, checkShard, checkTokenId, checkWhole, InvalidCommand, StoreUnavailable } from '../commands.js';
import type { CreditStore, DueHold, LookupAnswer, OrgTerms, StreamEntry, TokenTerms } from '../store.js';
import { holdOf, orgState, parsed, streamEntry } from './answers.js';
import type { Epochs } from './epochs.js';
import { failureOf, unavailable } from './failures.js';
import { type Ask, orThrow } from './lanes.js';
import type { Link } from './link.js';
import type { Topology } from './topology.js';

type Reading = Pick<CreditStore, 'lookup' | 'due' | 'entries' | 'trim' | 'pending' | 'shards' | 'inspect'>;

const CURSOR = /^(\d{1,15})-(\d{1,15})$/;

export function createReading(ask: Ask, topology: Topology, epochs: Epochs): Reading {
  /** Reads that no balance depends on go straight to the server that has the shard. */
  const linkOf = async (shard: string): Promise<Link> => {
    if (!topology.linkOf(shard)) await topology.refresh();
    const link = topology.linkOf(shard);
    if (!link) throw new StoreUnavailable('unreachable', `shard ${shard}`);
    await link.learn();
    return link;
  };
  return {
    lookup: async (tokenId) => {
      checkTokenId(tokenId);
      return lookup(ask, tokenId);
    },
    due: async (shard, limit) => {
      checkShard(shard);
      checkWhole('limit', limit, 100_000);
      return due(ask, linkOf, shard, limit);
    },
    entries: async (shard, after, limit) => {
      checkShard(shard);
      checkWhole('limit', limit, 100_000);
      if (after !== '' && !CURSOR.test(after)) throw new InvalidCommand(`not a cursor: ${after.slice(0, 80)}`);
      return entries(linkOf, shard, after, limit);
    },
    trim: async (shard, cursor, keepMs, epoch = '') => {
      checkShard(shard);
      checkWhole('keepMs', keepMs, Number.MAX_SAFE_INTEGER);
      if (cursor === '') return;
      const [, ms, sequence] = CURSOR.exec(cursor) ?? [];
      if (ms === undefined) throw new InvalidCommand(`not a cursor: ${cursor.slice(0, 80)}`);
      await linkOf(shard);
      const command = { shard, verb: 'trim', keys: [], fields: `${ms}|${sequence}|${keepMs}|${epoch}`, texts: [], free: true } as const;
      orThrow(await ask(command, (reply) => reply), `trimming shard ${shard}`);
    },
    pending: async (orgId, requestIds) => {
      checkOrgId(orgId);
      const shard = shardOf(orgId);
      const texts = [requestIds.map((id) => `${id}\n`).join('')];
      return ask({ shard, verb: 'pending', keys: [`{${shard}}:pend:${orgId}`], fields: '', texts }, (reply, epoch) => {
        if (reply[0] !== 'pending') return unavailable('broken', false);
        const listed = new Set(reply.slice(1));
        return { kind: 'pending', ids: requestIds.filter((id) => listed.has(id)), epoch } as const;
      });
    },
    shards: () => epochs.readAll(),
    inspect: async (orgId) => {
      checkOrgId(orgId);
      const shard = shardOf(orgId);
      const keys = ['org', 'holds', 'pend'].map((name) => `{${shard}}:${name}:${orgId}`);
      return ask({ shard, verb: 'inspect', keys, fields: '', texts: [] }, (reply) => orgState(reply, orgId));
    },
  };
}

/** The token says which organization it belongs to, so the cold path takes two calls; the hold checks both again. */
async function lookup(ask: Ask, tokenId: TokenId): Promise<LookupAnswer> {
  const shard = shardOf(tokenId);
  const terms = (key: string) => ask({ shard, verb: 'lookup', keys: [`{${shard}}:${key}`], fields: '', texts: [] }, (reply) => reply);
  const first = await terms(`token:${tokenId}`);
  if ('kind' in first) return first;
  if (first[0] === 'unknown') return { kind: 'unknown_token' };
  const token = parsed<TokenTerms>(first[1]);
  if (!token || token.tokenId !== tokenId || !isOrgId(token.orgId)) return unavailable('broken', false);
  const second = await terms(`org:${token.orgId}`);
  if ('kind' in second) return second;
  const org = second[0] === 'terms' ? parsed<OrgTerms>(second[1]) : undefined;
  return org ? { kind: 'found', token, org } : unavailable('broken', false);
}

async function due(ask: Ask, linkOf: (shard: string) => Promise<Link>, shard: string, limit: number): Promise<readonly DueHold[]> {
  const reply = await ask({ shard, verb: 'due', keys: [], fields: String(limit), texts: [] }, (answer) => answer);
  if ('kind' in reply && reply.reason === 'not_loaded') return [];
  const members = orThrow(reply, `due holds of shard ${shard}`)
    .slice(1)
    .map((member) => String(member).split(':'));
  if (members.length === 0) return [];
  const link = await linkOf(shard);
  const pipeline = link.redis.pipeline();
  for (const [orgId, requestId = ''] of members) pipeline.hmget(`{${shard}}:holds:${orgId}`, requestId, `${requestId}.note`);
  const stored = (await pipeline.exec()) ?? [];
  return members.flatMap(([orgId = '', requestId = ''], i) => {
    const [error, kept] = stored[i] ?? [];
    const [facts, note] = error || !Array.isArray(kept) ? [] : kept;
    const hold = typeof facts === 'string' && holdOf(orgId as OrgId, requestId, facts, String(note ?? ''));
    if (!hold) return []; // it ended in between
    const { deadlineMs: _, ...out } = hold;
    return [out];
  });
}

async function entries(
  linkOf: (shard: string) => Promise<Link>,
  shard: string,
  after: string,
  limit: number,
): Promise<readonly StreamEntry[]> {
  let rows: [string, string[]][];
  try {
    const link = await linkOf(shard);
    rows = await link.redis.xrange(`{${shard}}:stream`, after === '' ? '-' : `(${after}`, '+', 'COUNT', limit);
  } catch (error) {
    throw new StoreUnavailable(failureOf(error).answer.reason, `stream of shard ${shard}`);
  }
  return rows.map(streamEntry);
}
