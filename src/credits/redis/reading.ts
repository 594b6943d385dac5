import { isOrgId, type OrgId, shardOf, type TokenId } from '../../domain/ids.js';
import { checkOrgId, checkShard, checkTokenId, checkWhole, InvalidCommand, StoreUnavailable } from '../commands.js';
import type { CreditStore, DueHold, LookupAnswer, OrgTerms, StreamEntry, TokenTerms } from '../store.js';
import { holdOf, orgState, parsed, streamEntry, triples } from './answers.js';
import { type Ask, orThrow } from './asking.js';
import type { Epochs } from './epochs.js';
import { failureOf, unavailable } from './failures.js';
import type { Link } from './link.js';
import type { Topology } from './topology.js';

type Reading = Pick<CreditStore, 'lookup' | 'due' | 'entries' | 'trim' | 'pending' | 'shards' | 'inspect'>;

/** A member of the deadlines is an org id, and a request id behind it. */
const ORG_CHARS = 20;
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
      return due(ask, shard, limit);
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
      return ask({ shard, verb: 'pending', keys: [`{${shard}}:requests:${orgId}`], fields: '', texts }, (reply, epoch) => {
        if (reply[0] !== 'pending') return unavailable('broken', false);
        const listed = new Set(reply.slice(1));
        return { kind: 'pending', ids: requestIds.filter((id) => listed.has(id)), epoch } as const;
      });
    },
    shards: () => epochs.readAll(),
    inspect: async (orgId) => {
      checkOrgId(orgId);
      const shard = shardOf(orgId);
      const keys = ['org', 'requests'].map((name) => `{${shard}}:${name}:${orgId}`);
      return ask({ shard, verb: 'inspect', keys, fields: '', texts: [] }, (reply) => orgState(reply, orgId));
    },
  };
}

/** The script finds the organization by what the token says; the hold checks both again. */
async function lookup(ask: Ask, tokenId: TokenId): Promise<LookupAnswer> {
  const shard = shardOf(tokenId);
  const reply = await ask({ shard, verb: 'lookup', keys: [`{${shard}}:token:${tokenId}`], fields: '', texts: [] }, (answer) => answer);
  if ('kind' in reply) return reply;
  if (reply[0] === 'unknown') return { kind: 'unknown_token' };
  const token = parsed<TokenTerms>(reply[1]);
  const org = parsed<OrgTerms>(reply[2]);
  if (token?.tokenId !== tokenId || !isOrgId(token.orgId) || org?.orgId !== token.orgId) return unavailable('broken', false);
  return { kind: 'found', token, org };
}

/** Which requests are due is kept by deadline, what they are by organization; who ended in between is left out. */
async function due(ask: Ask, shard: string, limit: number): Promise<readonly DueHold[]> {
  const reply = await ask({ shard, verb: 'due', keys: [], fields: String(limit), texts: [] }, (answer) => answer);
  if ('kind' in reply && reply.reason === 'not_loaded') return [];
  const members = orThrow(reply, `due holds of shard ${shard}`).slice(1).map(String);
  const byOrg = new Map<string, string[]>();
  for (const member of members) {
    const [orgId, requestId] = [member.slice(0, ORG_CHARS), member.slice(ORG_CHARS)];
    const ids = byOrg.get(orgId);
    if (ids) ids.push(requestId);
    else byOrg.set(orgId, [requestId]);
  }
  const found = new Map<string, DueHold>();
  await Promise.all(
    [...byOrg].map(async ([orgId, ids]) => {
      const texts = [ids.map((id) => `${id}\n`).join('')];
      const kept = await ask({ shard, verb: 'holds', keys: [`{${shard}}:requests:${orgId}`], fields: '', texts }, (answer) => answer);
      if ('kind' in kept) return;
      for (const [requestId, facts, note] of triples(kept.slice(1))) {
        const hold = holdOf(orgId as OrgId, requestId, facts, note);
        if (!hold) continue;
        const { deadlineMs: _, ...out } = hold;
        found.set(orgId + requestId, out);
      }
    }),
  );
  return members.flatMap((member) => found.get(member) ?? []);
}

async function entries(
  linkOf: (shard: string) => Promise<Link>,
  shard: string,
  after: string,
  limit: number,
): Promise<readonly StreamEntry[]> {
  let rows: [Buffer, Buffer[]][];
  try {
    const link = await linkOf(shard);
    rows = await link.redis.xrangeBuffer(`{${shard}}:stream`, after === '' ? '-' : `(${after}`, '+', 'COUNT', limit);
  } catch (error) {
    throw new StoreUnavailable(failureOf(error).answer.reason, `stream of shard ${shard}`);
  }
  return rows.map(streamEntry);
}
