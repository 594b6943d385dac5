import { isTokenId } from '../../domain/ids.js';
import { checkHold, checkLease, checkSettle } from '../commands.js';
import type { CreditStore, Unavailable } from '../store.js';
import { isUnavailable } from './asking.js';
import type { Epochs, Slot } from './epochs.js';
import { unavailable } from './failures.js';
import { type Checked, EXTEND, HOLD, type Kind, REHOLD, type RequestCommand, SETTLE } from './kinds.js';
import { type Lanes, nextBatch, type Reply, type Task, type Wire } from './lanes.js';
import type { Packet } from './packet.js';
import { createPurses, type Place, type Purse } from './purses.js';
import { spendScript } from './scripts.js';

/** As often as the tokens of a member may change while one command is on its way. */
const SHARERS_TRIES_MAX = 4;
/** Counts of shards, orgs and tokens; of each command verb, shard, org, token and claim. */
const COUNTS_BYTES = 3;
const PLACES_BYTES = 5;

/** One command of a request on its way. */
class Spend<C extends RequestCommand, A> implements Task {
  readonly free = false;
  readonly patient: boolean;
  life = '';
  tries = 0;
  readonly slot: Slot;
  readonly kind: Kind<C, A>;
  readonly command: C;
  readonly purse: Purse;
  readonly ways: Ways<A>;
  asked = 0;

  constructor(kind: Kind<C, A>, command: C, purse: Purse, ways: Ways<A>) {
    this.kind = kind;
    this.patient = kind.patient;
    this.command = command;
    this.purse = purse;
    this.slot = purse.slot;
    this.ways = ways;
  }

  remember(checked: Checked): void {
    this.purse.checked = checked;
  }

  done(reply: Reply | Unavailable): void {
    try {
      if (isUnavailable(reply)) this.ways.resolve(reply);
      else if (typeof reply !== 'number' && reply[0] === 'keys') this.#comeAgain(reply.slice(1));
      else this.ways.resolve(this.kind.answer(reply, this.command, this));
    } catch (error) {
      this.ways.reject(error);
    }
  }

  #comeAgain(sharers: readonly unknown[]): void {
    this.asked += 1;
    if (this.asked > SHARERS_TRIES_MAX) this.ways.resolve(unavailable('broken', false));
    else this.ways.again(this as unknown as AnySpend, sharers);
  }
}

/** What may become of it. */
interface Ways<A> {
  resolve(answer: A | Unavailable): void;
  reject(error: unknown): void;
  again(task: AnySpend, sharers: readonly unknown[]): void;
}

export type AnySpend = Pick<Spend<RequestCommand, unknown>, keyof Task | 'purse'> & {
  readonly kind: Kind<RequestCommand, unknown>;
  readonly command: RequestCommand;
};

/** The hot path: one command each, on keys made of checked ids only. */
export function createSpending(lanes: Lanes<AnySpend>, epochs: Epochs): Pick<CreditStore, 'hold' | 'extend' | 'settle' | 'rehold'> {
  const purses = createPurses(epochs);
  /** The quota of a member was met whose other tokens were not given: they are learnt, and the command goes once more. */
  const again = (task: AnySpend, sharers: readonly unknown[]): void => {
    task.purse.sharers = sharers.flatMap((id) => (typeof id === 'string' && isTokenId(id) ? [purses.tokenAt(id)] : []));
    lanes.submit(task);
  };
  /** `check` throws before anything is sent, which rejects the promise. */
  const send = <C extends RequestCommand, A>(kind: Kind<C, A>, check: (command: C) => void, command: C): Promise<A | Unavailable> =>
    new Promise((resolve, reject) => {
      check(command);
      const task = new Spend(kind, command, purses.of(command.orgId, command.tokenId), { resolve, reject, again });
      lanes.submit(task as unknown as AnySpend);
    });
  return {
    hold: (command) => send(HOLD, checkHold, command),
    extend: (command) => send(EXTEND, checkLease, command),
    settle: (command) => send(SETTLE, checkSettle, command),
    rehold: (command) => send(REHOLD, checkLease, command),
  };
}

/** As `spend.lua` reads them. */
export function spendWire(): Wire<AnySpend> {
  return { script: spendScript(), pack, cut };
}

function pack(batch: readonly AnySpend[], packet: Packet, name: string, body: string) {
  const { shards, orgs, tokens, claims, sharers } = placesOf(batch);
  const keys = 5 * shards.length + 2 * orgs.length + tokens.length + claims.length + sharers.length;
  const heads = batch.reduce((sum, { kind }) => sum + (kind.headBytes > 0 ? 1 : 0), 0);
  packet.clear();
  packet.parts(4 + keys + shards.length + heads + batch.length);
  packet.text(name);
  packet.text(body);
  packet.text(String(keys));
  for (const shard of shards) packet.bytes(shard.keys);
  for (const org of orgs) packet.bytes(org.keys);
  for (const token of tokens) packet.bytes(token.keys);
  for (const claim of claims) packet.text(claim);
  for (const sharer of sharers) packet.bytes(sharer.keys);
  for (const shard of shards) packet.bytes(shard.nameKeys);
  packet.head(COUNTS_BYTES + PLACES_BYTES * batch.length);
  packet.u8(shards.length);
  packet.u8(orgs.length);
  packet.u8(tokens.length);
  let claimed = 0;
  for (const { kind, command, purse } of batch) {
    packet.u8(kind.letter(command));
    packet.u8(purse.slot.ordinal);
    packet.u8(purse.org.ordinal);
    packet.u8(purse.token.ordinal);
    packet.u8(kind.claim(command) === null ? 0 : ++claimed);
  }
  packet.end();
  for (const { life } of shards) packet.text(life);
  for (const { kind, command, purse, life } of batch) {
    if (kind.headBytes > 0) {
      packet.head(kind.headBytes);
      // What was found in another life of the data says nothing about this one.
      kind.head(packet, command, purse, purse.checked?.life === life ? purse.checked : undefined);
      packet.end();
    }
    kind.give(packet, command, purse);
  }
  return packet.command(name);
}

/** Each shard, organization and token of a batch once; a batch is small enough for a byte to count any of them. */
function placesOf(batch: readonly AnySpend[]) {
  const number = nextBatch();
  const shards: Slot[] = [];
  const orgs: Place[] = [];
  const tokens: Place[] = [];
  const claims: string[] = [];
  for (const { kind, command, purse } of batch) {
    const { slot, org, token } = purse;
    if (slot.batch !== number) {
      slot.batch = number;
      slot.ordinal = shards.push(slot) - 1;
    }
    if (org.batch !== number) {
      org.batch = number;
      org.ordinal = orgs.push(org);
    }
    if (token.batch !== number) {
      token.batch = number;
      token.ordinal = tokens.push(token);
    }
    const claim = kind.claim(command);
    if (claim !== null) claims.push(claim);
  }
  return { shards, orgs, tokens, claims, sharers: sharersOf(batch, number) };
}

/** Those that do not spend in this batch themselves. */
function sharersOf(batch: readonly AnySpend[], number: number): readonly Place[] {
  const sharers: Place[] = [];
  for (const { purse } of batch) {
    for (const place of purse.sharers) {
      if (place.batch === number) continue;
      place.batch = number;
      sharers.push(place);
    }
  }
  return sharers;
}

const PARTS = '\u001f';

function cut(reply: unknown, count: number): readonly Reply[] {
  const answers: Reply[] = [];
  if (!Buffer.isBuffer(reply) || reply.length < 8 * count) return answers;
  let at = 8 * count;
  for (let i = 0; i < count; i++) {
    const number = reply.readDoubleLE(8 * i);
    if (number >= 0) answers.push(number);
    else {
      answers.push(reply.toString('utf8', at, at - number).split(PARTS));
      at -= number;
    }
  }
  return answers;
}
