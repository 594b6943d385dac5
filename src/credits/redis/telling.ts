import { isOrgId, type OrgId, shardOf, type TokenId } from '../../domain/ids.js';
import {
  checkApplied,
  checkExpected,
  checkOrgTerms,
  checkShard,
  checkSnapshot,
  checkTokenTerms,
  checkWhole,
  StoreUnavailable,
} from '../commands.js';
import type { AppliedAnswer, AppliedCommand, Balance, CreditStore, ExpectedOrg, OrgSnapshot, ProjectAnswer, ShardState } from '../store.js';
import { amount } from './answers.js';
import { type Ask, orThrow } from './asking.js';
import { type Epochs, LAYOUT } from './epochs.js';
import { unavailable } from './failures.js';
import { capsText, orgTermsText, tokenTermsText, useText } from './texts.js';
import type { Topology } from './topology.js';

/** One call may not keep the server from others for long. */
const CLEAR_AT_ONCE = 500;
const TOKENS_AT_ONCE = 100;
const EXPECTED_AT_ONCE = 2_000;
const KEYS_TRIES_MAX = 4;

/** The verbs by which Postgres tells the store what it knows. */
export function createTelling(
  ask: Ask,
  topology: Topology,
  epochs: Epochs,
): Pick<CreditStore, 'project' | 'applied' | 'expect' | 'wanted' | 'load' | 'transition'> {
  return {
    project: async (terms) => {
      if ('org' in terms) checkOrgTerms(terms.org);
      else checkTokenTerms(terms.token);
      return project(ask, terms);
    },
    applied: async (command) => {
      checkApplied(command);
      // The first part carries the balance; the others only clear, which can but lower what is pending.
      let answer = await appliedPart(ask, { ...command, clear: command.clear.slice(0, CLEAR_AT_ONCE) });
      for (let at = CLEAR_AT_ONCE; at < command.clear.length && answer.kind === 'applied'; at += CLEAR_AT_ONCE) {
        answer = await appliedPart(ask, { ...command, clear: command.clear.slice(at, at + CLEAR_AT_ONCE) });
      }
      return answer;
    },
    expect: async (shard, accounts) => {
      checkShard(shard);
      for (const one of accounts) checkExpected(shard, one);
      for (const texts of namesOf(accounts)) {
        const command = { shard, verb: 'expect', keys: [], fields: '', texts } as const;
        const reply = orThrow(await ask(command, (answer) => answer), `naming organizations of shard ${shard}`);
        if (reply[0] === 'lost') return false;
        if (reply[0] !== 'expected') throw new StoreUnavailable('broken', `naming organizations of shard ${shard}`);
      }
      return true;
    },
    wanted: async (shard, limit) => {
      checkShard(shard);
      checkWhole('limit', limit, 10_000);
      const command = { shard, verb: 'wanted', keys: [], fields: String(limit), texts: [] } as const;
      const reply = await ask(command, (answer) => answer);
      return 'kind' in reply ? [] : reply.slice(1).filter((id): id is OrgId => typeof id === 'string' && isOrgId(id));
    },
    load: async (shard, orgs, epoch = '') => {
      checkShard(shard);
      for (const org of orgs) checkSnapshot(shard, org);
      for (let at = 0; at < orgs.length; at += 100) {
        await Promise.all(orgs.slice(at, at + 100).map((org) => load(ask, shard, org, epoch)));
      }
    },
    transition: async (shard, from, to) => {
      checkShard(shard);
      if (to !== 'filling' && from.state !== 'filling' && (to === 'serving' || from.state !== 'open' || from.whole)) return false;
      const slot = epochs.slot(shard);
      await epochs.read(slot); // also finds the server that has it
      const link = topology.linkOf(shard);
      if (!link) return false;
      const seen = seenOf(from);
      const answer = await ask(
        { shard, verb: 'transition', keys: [], fields: `${await link.learn()}|${LAYOUT}|${to}`, texts: [seen], free: true },
        (reply) => reply[0],
      );
      if (answer === 'moved') await epochs.read(slot);
      return answer === 'moved';
    },
  };
}

/** The very text that was read. */
function seenOf({ state, whole, epoch }: ShardState): string {
  if (state === 'absent') return epoch;
  return `${epoch}:${state === 'open' && !whole ? 'serving' : state}`;
}

/** Ids of organizations, and of tokens with that of theirs: as many at once as do not keep the server from others. */
function namesOf(accounts: readonly ExpectedOrg[]): readonly (readonly [orgs: string, tokens: string])[] {
  const calls: (readonly [string, string])[] = [];
  let [orgs, tokens, named] = ['', '', 0];
  for (const { orgId, tokenIds } of accounts) {
    orgs += orgId;
    for (const tokenId of tokenIds) tokens += tokenId + orgId;
    named += 1 + tokenIds.length;
    if (named < EXPECTED_AT_ONCE) continue;
    calls.push([orgs, tokens]);
    [orgs, tokens, named] = ['', '', 0];
  }
  // Also when there is nobody: that there are names to look at is said with each of these calls.
  return named > 0 || calls.length === 0 ? [...calls, [orgs, tokens]] : calls;
}

async function project(ask: Ask, terms: Parameters<CreditStore['project']>[0]): Promise<ProjectAnswer> {
  const isOrg = 'org' in terms;
  const { orgId, version } = isOrg ? terms.org : terms.token;
  const shard = shardOf(orgId);
  const tag = `{${shard}}:`;
  const own = isOrg ? `${tag}org:${orgId}` : `${tag}token:${terms.token.tokenId}`;
  const keys = [own, `${tag}requests:${orgId}`, `${tag}org:${orgId}`, `${tag}told`];
  const texts = isOrg
    ? [orgTermsText(terms.org), JSON.stringify(terms.org), '', '', '']
    : [tokenTermsText(terms.token), JSON.stringify(terms.token), capsText(terms.token), orgId, terms.token.digest];
  const fields = `${version}|${isOrg ? '-' : terms.token.tokenId}`;
  return ask({ shard, verb: 'project', keys, fields, texts }, (reply) => {
    if (reply[0] !== 'projected' && reply[0] !== 'older') return unavailable('broken', true);
    return { kind: reply[0] } as const;
  });
}

/** Whose requests are cleared is known only there: the script says which tokens it needs, and is asked again with them. */
async function appliedPart(ask: Ask, command: AppliedCommand): Promise<AppliedAnswer> {
  const shard = shardOf(command.orgId);
  const tag = `{${shard}}:`;
  const lines = new Map<TokenId, string>(command.tokens.map((use) => [use.tokenId, `${use.tokenId}=${useText(use)}\n`]));
  const clear = command.clear.map(({ requestId, kind, cost }) => `${requestId}|${kind === 'final' ? 'C' : 'F'}|${cost}\n`).join('');
  for (let tries = 0; tries < KEYS_TRIES_MAX; tries++) {
    const keys = [`${tag}org:${command.orgId}`, `${tag}requests:${command.orgId}`, `${tag}told`];
    for (const tokenId of lines.keys()) keys.push(`${tag}token:${tokenId}`);
    const reply = await ask(
      { shard, verb: 'applied', keys, fields: balanceFields(command.balance), texts: [[...lines.values()].join(''), clear] },
      (answer) => answer,
    );
    if ('kind' in reply) return reply;
    if (reply[0] === 'applied') return { kind: 'applied', remaining: amount(reply[1]) };
    if (reply[0] !== 'keys') return unavailable('broken', true);
    for (const tokenId of reply.slice(1) as TokenId[]) lines.set(tokenId, `${tokenId}\n`);
  }
  return unavailable('broken', false);
}

async function load(ask: Ask, shard: string, org: OrgSnapshot, epoch: string): Promise<void> {
  const tag = `{${shard}}:`;
  const { orgId } = org.terms;
  const orgTexts = [epoch, orgTermsText(org.terms), JSON.stringify(org.terms)];
  for (let at = 0; at === 0 || at < org.tokens.length; at += TOKENS_AT_ONCE) {
    const keys = [`${tag}org:${orgId}`, `${tag}requests:${orgId}`, `${tag}told`];
    const texts = [...orgTexts];
    for (const { terms, use } of org.tokens.slice(at, at + TOKENS_AT_ONCE)) {
      keys.push(`${tag}token:${terms.tokenId}`);
      texts.push(terms.tokenId, tokenTermsText(terms), JSON.stringify(terms), capsText(terms), terms.digest, useText(use), terms.orgId);
    }
    const isLast = at + TOKENS_AT_ONCE >= org.tokens.length;
    const fields = `${balanceFields(org.balance)}|${isLast ? 1 : 0}`;
    const reply = await ask({ shard, verb: 'load', keys, fields, texts }, (answer) => answer);
    if ('kind' in reply) throw new StoreUnavailable(reply.reason, `loading ${orgId}`);
    if (reply[0] !== 'loaded') throw new StoreUnavailable('broken', `loading ${orgId}`);
  }
}

const balanceFields = (balance: Balance): string =>
  `${balance.avail}|${balance.balanceVersion}|${balance.monthSpent}|${balance.monthEndsAtMs}`;
