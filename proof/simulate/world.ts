import type { OrgSnapshot } from '../../src/credits/store.js';
import type { OrgId } from '../../src/domain/ids.js';
import { promiseOf, wordsOf } from './answers.js';
import { Books } from './books.js';
import { type Answer, type Call, lifeOf } from './calls.js';
import { DRAINS, GATEWAYS, HEALS, orgName, orgsOf, SHARDS } from './cast.js';
import { checkStore, trueRoom } from './check.js';
import { Gateway } from './gateway.js';
import { Hot, type HotState } from './hot.js';
import { ACTIONS } from './script.js';
import { Stories } from './stories.js';
import type { Subject } from './subject.js';
import { Violation } from './violation.js';
import { type Message, Wire } from './wire.js';
import { Drain, Heal, type WorkerParts } from './workers.js';

export interface Tally {
  requests: number;
  admitted: number;
  refused: number;
  charged: number;
  kills: number;
  wipes: number;
  rollbacks: number;
  damages: number;
  outages: number;
  duplicates: number;
  lost: number;
  late: number;
  /** Micro-credits by which store and books differed at rest. */
  drift: number;
}

export const emptyTally = (): Tally => ({
  ...{ requests: 0, admitted: 0, refused: 0, charged: 0, kills: 0, wipes: 0 },
  ...{ rollbacks: 0, damages: 0, outages: 0, duplicates: 0, lost: 0, late: 0, drift: 0 },
});

const OPENING = 25_000;
const CHECK_EVERY = 40;

/**
 * One episode: everybody, the network between them, the books, and the store under test with its model beside it. A script
 * is a list of lines; a line that has no meaning (any more) does nothing, so any part of a script is a script.
 */
export class World {
  nowMs = 0;
  steps = 0;
  /** The store never lost anything so far: then the strongest promises hold. */
  lossless = true;
  readonly tally = emptyTally();
  readonly wire = new Wire();
  readonly stories = new Stories();
  readonly books = new Books(OPENING);
  readonly hot: Hot;
  readonly gateways: ReadonlyMap<string, Gateway>;
  readonly drains: ReadonlyMap<string, Drain>;
  readonly heals: ReadonlyMap<string, Heal>;
  readonly parts: WorkerParts;
  readonly subject: Subject;
  readonly strict: boolean;
  readonly revoked = new Set<string>();
  /** Organizations whose request was charged more after it had been swept: it may owe. */
  readonly late = new Set<OrgId>();
  /** Organizations that were allowed below zero at some time. */
  readonly overdrawn = new Set<OrgId>();
  /**
   * Organizations of which a key was damaged, until a reload mends it: they may be refused, never favoured. And the life of
   * the data that had been loaded by then, if any: another load in the same life leaves alone what is not older than itself.
   */
  damaged = new Map<OrgId, string>();
  readonly versions = new Map<OrgId, { readonly life: string; readonly version: number }>();
  private kept: { readonly state: HotState; readonly damaged: ReadonlyMap<OrgId, string> } | undefined;

  constructor(subject: Subject, strict: boolean) {
    this.subject = subject;
    this.strict = strict;
    this.hot = new Hot(subject.scale);
    const { wire, stories, books } = this;
    this.parts = {
      wire,
      stories,
      books,
      nowMs: () => this.nowMs,
      isDamaged: (shard) => orgsOf(shard).some((org) => this.damaged.has(org)),
    };
    this.gateways = new Map(
      GATEWAYS.map((name) => [name, new Gateway(name, { wire, stories, scale: subject.scale, habits: subject.habits })]),
    );
    this.drains = new Map(DRAINS.map((name) => [name, new Drain(name, this.parts)]));
    this.heals = new Map(HEALS.map((name) => [name, new Heal(name, this.parts)]));
  }

  /** Plays one line of a script. */
  async perform(line: string): Promise<void> {
    const [word = '', ...rest] = line.split(' ');
    const action = ACTIONS[word];
    if (!action) throw new Error(`nobody knows how to ${word}`);
    this.steps += 1;
    await action(this, rest);
    if (this.steps % CHECK_EVERY === 0) await checkStore(this);
  }

  async run(message: Message): Promise<Answer> {
    const { call } = message;
    const isOpen = call.verb === 'settle' && this.hot.stateOf(call.command.orgId) === 'open';
    const mended = call.verb === 'load' ? call.command.orgs.filter((one) => this.isMending(one)).map(({ terms }) => terms.orgId) : [];
    const answer = await this.subject.execute(call);
    this.audit(message, answer);
    if (isDamaged(this.damaged, call) && isRefusal(answer)) return answer;
    const expected = this.hot.expected(call, this.nowMs);
    const words = wordsOf(call, answer, isOpen);
    if (answer.kind === 'loaded') {
      for (const org of mended) if (this.damaged.get(org) !== this.life(org)) this.damaged.delete(org);
    }
    if (expected !== undefined && words !== expected && !(isDamaged(this.damaged, call) && isLess(call, expected, answer))) {
      throw new Violation(promiseOf(call, expected, answer), `${message.key} was answered '${words}', expected '${expected}'`);
    }
    if (words !== expected && call.verb === 'extend' && answer.kind === 'short' && 'amount' in answer)
      this.hot.stayed(call.command, answer.amount);
    if (answer.kind === 'moved') await this.learnEpochs();
    return answer;
  }

  /** A reload writes anew what it finds damaged, unless something newer was told before that was lost with it. */
  private isMending({ terms, tokens }: OrgSnapshot): boolean {
    const { hot } = this;
    if (
      (hot.stateOf(terms.orgId) !== 'filling' && hot.org(terms.orgId).balance) ||
      (hot.org(terms.orgId).terms?.version ?? 0) > terms.version
    )
      return false;
    return tokens.every((one) => (hot.token(one.terms.tokenId).terms?.version ?? 0) <= one.terms.version);
  }

  /** Promises that hold whatever the model believes. */
  private audit({ key, call }: Message, answer: Answer): void {
    this.stories.note(call, answer);
    const { verb, command } = call;
    // A hold that was swept or put back stands outside the caps: what it costs then was never admitted anew.
    if ((verb === 'settle' && command.ifDue) || verb === 'rehold') this.late.add(command.orgId);
    if (verb === 'project' && 'token' in command && command.token.status === 'revoked') {
      if (answer.kind === 'projected' || answer.kind === 'older') this.revoked.add(command.token.tokenId);
    }
    if (verb !== 'hold') return;
    if (answer.kind !== 'held') {
      if (answer.kind !== 'unavailable' && answer.kind !== 'stale' && answer.kind !== 'settled') this.tally.refused += 1;
      return;
    }
    if ('repeated' in answer && answer.repeated) return;
    this.tally.admitted += 1;
    if (this.revoked.has(command.tokenId)) throw new Violation('no spending after revocation', `${key} was admitted`);
    if (!this.lossless || command.amount === 0) return;
    const room = trueRoom(this, command.orgId);
    if (room < 0)
      throw new Violation('no overspend', `${key} was admitted for ${command.amount}: ${-room} more than ${orgName(command.orgId)} has`);
  }

  async tick(ms: number): Promise<void> {
    this.nowMs += ms;
    await this.subject.advance(ms);
  }

  async wipe(): Promise<void> {
    this.lossless = false;
    this.tally.wipes += 1;
    await this.subject.wipe();
    this.hot.wipe();
    this.damaged.clear();
    await this.learnEpochs();
  }

  async snapshot(): Promise<void> {
    await this.subject.snapshot();
    this.kept = { state: structuredClone(this.hot.state), damaged: new Map(this.damaged) };
  }

  async rollback(): Promise<void> {
    if (!this.kept) return;
    this.lossless = false;
    this.tally.rollbacks += 1;
    await this.subject.rollback();
    this.hot.state = structuredClone(this.kept.state);
    this.damaged = new Map(this.kept.damaged);
    for (const shard of this.hot.state.shards.values()) {
      shard.state = 'absent';
      shard.whole = false;
    }
    await this.learnEpochs();
  }

  /** The model does not make epochs up; it takes the store's word for what they are called, not for what state they are in. */
  async learnEpochs(): Promise<void> {
    for (const { shard, state, whole, epoch } of await this.subject.shards()) {
      if (!SHARDS.includes(shard)) continue;
      const known = this.hot.shard(shard);
      if (known.state !== state || known.whole !== whole) {
        const words = `shard ${shard} is ${state}${whole ? ', whole' : ''}, expected ${known.state}${known.whole ? ', whole' : ''}`;
        throw new Violation('answers follow the contract', words);
      }
      known.epoch = epoch;
    }
  }

  life(org: OrgId): string {
    return lifeOf(this.hot.shard(org.slice(4, 6)).epoch);
  }
}

/** Whether a call is about an organization of which a key was damaged. */
function isDamaged(damaged: ReadonlyMap<OrgId, string>, { verb, command }: Call): boolean {
  if (damaged.size === 0) return false;
  if (verb === 'project') return damaged.has('org' in command ? command.org.orgId : command.token.orgId);
  return command !== null && 'orgId' in command && damaged.has(command.orgId);
}

/** What cannot be read is said to be broken, and a token that is not there to be unknown; neither spends nor writes. */
const isRefusal = (answer: Answer): boolean =>
  (answer.kind === 'unavailable' && answer.reason === 'broken') || answer.kind === 'unknown_token' || answer.kind === 'stale';

/** With terms or use gone an answer may differ in its numbers, never in admitting what should be refused. */
function isLess({ verb }: Call, expected: string, answer: Answer): boolean {
  if (verb === 'extend' && answer.kind === 'short' && 'amount' in answer)
    return expected.startsWith('extended ') && answer.amount <= Number(expected.split(' ')[1]);
  if (verb !== 'hold') return verb === 'project' || expected.startsWith(answer.kind);
  // A hold of nothing is admitted even where what a member has left cannot be known: then nothing is said to be left.
  const [kind, amount, remaining] = expected.split(' ');
  return (
    answer.kind === 'held' &&
    'amount' in answer &&
    kind === 'held' &&
    Number(amount) === answer.amount &&
    answer.remaining <= Number(remaining)
  );
}
