import { type OrgId, shardOf, type TokenId } from '../../domain/ids.js';
import { checkHold, checkLease, checkSettle } from '../commands.js';
import type { CreditStore, Unavailable } from '../store.js';
import { isUnavailable } from './asking.js';
import { type Epochs, keyPart, type Slot } from './epochs.js';
import { type Checked, EXTEND, HOLD, type Kind, REHOLD, type RequestCommand, SETTLE } from './kinds.js';
import { type Lanes, nextBatch, type Reply, type Task, type Wire } from './lanes.js';
import type { Packet } from './packet.js';
import { spendScript } from './scripts.js';

/** Keys as they are sent, and which of their sort they are in the batch that is being packed, from 1. */
interface Place {
  readonly keys: string;
  batch: number;
  ordinal: number;
}

/** Where a token spends: its own key, and the two of its organization. */
interface Purse {
  readonly orgId: OrgId;
  readonly slot: Slot;
  readonly org: Place;
  readonly token: Place;
  checked: Checked | undefined;
}

const PURSES_MAX = 20_000;
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
  readonly resolve: (answer: A | Unavailable) => void;
  readonly reject: (error: unknown) => void;

  constructor(kind: Kind<C, A>, command: C, purse: Purse, resolve: (answer: A | Unavailable) => void, reject: (error: unknown) => void) {
    this.kind = kind;
    this.patient = kind.patient;
    this.command = command;
    this.purse = purse;
    this.slot = purse.slot;
    this.resolve = resolve;
    this.reject = reject;
  }

  remember(checked: Checked): void {
    this.purse.checked = checked;
  }

  done(reply: Reply | Unavailable): void {
    try {
      this.resolve(isUnavailable(reply) ? reply : this.kind.answer(reply, this.command, this));
    } catch (error) {
      this.reject(error);
    }
  }
}

export type AnySpend = Pick<Spend<RequestCommand, unknown>, keyof Task | 'purse'> & {
  readonly kind: Kind<RequestCommand, unknown>;
  readonly command: RequestCommand;
};

/** The hot path: one command each, on keys made of checked ids only. */
export function createSpending(lanes: Lanes<AnySpend>, epochs: Epochs): Pick<CreditStore, 'hold' | 'extend' | 'settle' | 'rehold'> {
  const purses = new Map<string, Purse>();
  const orgs = new Map<string, Place>();
  const purseOf = (orgId: OrgId, tokenId: TokenId): Purse => {
    const known = purses.get(tokenId);
    if (known?.orgId === orgId) return known;
    if (purses.size >= PURSES_MAX) {
      purses.clear();
      orgs.clear();
    }
    const tag = `{${shardOf(orgId)}}:`;
    const org = orgs.get(orgId) ?? { keys: keyPart(`${tag}org:${orgId}`) + keyPart(`${tag}requests:${orgId}`), batch: 0, ordinal: 0 };
    orgs.set(orgId, org);
    const token = { keys: keyPart(`${tag}token:${tokenId}`), batch: 0, ordinal: 0 };
    const purse: Purse = { orgId, slot: epochs.slot(shardOf(orgId)), org, token, checked: undefined };
    purses.set(tokenId, purse);
    return purse;
  };
  /** `check` throws before anything is sent, which rejects the promise. */
  const send = <C extends RequestCommand, A>(kind: Kind<C, A>, check: (command: C) => void, command: C): Promise<A | Unavailable> =>
    new Promise((resolve, reject) => {
      check(command);
      lanes.submit(new Spend(kind, command, purseOf(command.orgId, command.tokenId), resolve, reject) as unknown as AnySpend);
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
  const { shards, orgs, tokens, claims } = placesOf(batch);
  const keys = 3 * shards.length + 2 * orgs.length + tokens.length + claims.length;
  const heads = batch.reduce((sum, { kind }) => sum + (kind.headBytes > 0 ? 1 : 0), 0);
  packet.clear();
  packet.parts(4 + keys + shards.length + heads + batch.length);
  packet.text(name);
  packet.text(body);
  packet.text(String(keys));
  for (const shard of shards) packet.ascii(shard.keys);
  for (const org of orgs) packet.ascii(org.keys);
  for (const token of tokens) packet.ascii(token.keys);
  for (const claim of claims) packet.text(claim);
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
      kind.head(packet, command, purse.checked?.life === life ? purse.checked : undefined);
      packet.end();
    }
    kind.give(packet, command);
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
  return { shards, orgs, tokens, claims };
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
