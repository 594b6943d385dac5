import { type OrgId, shardOf, type TokenId } from '../../domain/ids.js';
import { checkHold, checkLease, checkSettle } from '../commands.js';
import type { CreditStore, Unavailable } from '../store.js';
import { isUnavailable } from './asking.js';
import type { Epochs, Slot } from './epochs.js';
import { EXTEND, HOLD, type Kind, REHOLD, type RequestCommand, SETTLE } from './kinds.js';
import { type Lanes, nextBatch, type Reply, type Task, type Wire } from './lanes.js';
import type { Packet } from './packet.js';
import { spendScript } from './scripts.js';

/** Keys as they are sent, and where they stand in the batch that is being packed. */
interface Place {
  readonly keys: string;
  batch: number;
  at: number;
}

/** Where a token spends: its own key, and the two of its organization. */
interface Purse {
  readonly orgId: OrgId;
  readonly slot: Slot;
  readonly org: Place;
  readonly token: Place;
}

const PURSES_MAX = 20_000;
const KEYS_OF_SHARD = 3;
const KEYS_OF_ORG = 2;
/** Verb, four places, request id. */
const HEAD_BYTES = 45;

/** One command of a request on its way. */
class Spend<C extends RequestCommand, A> implements Task {
  readonly free = false;
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
    this.command = command;
    this.purse = purse;
    this.slot = purse.slot;
    this.resolve = resolve;
    this.reject = reject;
  }

  done(reply: Reply | Unavailable): void {
    try {
      this.resolve(isUnavailable(reply) ? reply : this.kind.answer(reply, this.command, this.life));
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
    const org = orgs.get(orgId) ?? { keys: part(`${tag}org:${orgId}`) + part(`${tag}requests:${orgId}`), batch: 0, at: 0 };
    orgs.set(orgId, org);
    const purse = { orgId, slot: epochs.slot(shardOf(orgId)), org, token: { keys: part(`${tag}token:${tokenId}`), batch: 0, at: 0 } };
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
  const { shards, keys, places } = placesOf(batch);
  packet.clear();
  packet.parts(4 + keys + shards.length + 2 * batch.length);
  packet.text(name);
  packet.text(body);
  packet.text(String(keys));
  for (const { epochKey, deadlinesKey, streamKey } of shards) packet.ascii(part(epochKey) + part(deadlinesKey) + part(streamKey));
  for (const place of places) packet.ascii(place);
  packet.text(String(shards.length));
  for (const { life } of shards) packet.text(life);
  let claim = keys - batch.reduce((sum, { kind, command }) => sum + (kind.claim(command) === null ? 0 : 1), 0);
  for (const { kind, command, purse } of batch) {
    packet.head(HEAD_BYTES + kind.restBytes);
    packet.u8(kind.letter);
    packet.u16(purse.slot.ordinal);
    packet.u16(purse.org.at);
    packet.u16(purse.token.at);
    packet.u16(kind.claim(command) === null ? 0 : ++claim);
    packet.ascii(command.requestId);
    kind.write(packet, command);
    packet.end();
    kind.give(packet, command);
  }
  return packet.command(name);
}

/** Each shard, organization and token of a batch once. */
function placesOf(batch: readonly AnySpend[]) {
  const number = nextBatch();
  const shards: Slot[] = [];
  for (const { slot } of batch) {
    if (slot.batch === number) continue;
    slot.batch = number;
    slot.ordinal = shards.length;
    shards.push(slot);
  }
  let keys = shards.length * KEYS_OF_SHARD;
  const places: string[] = [];
  const give = (place: Place, count: number): void => {
    if (place.batch === number) return;
    place.batch = number;
    place.at = keys + 1;
    keys += count;
    places.push(place.keys);
  };
  for (const { purse } of batch) {
    give(purse.org, KEYS_OF_ORG);
    give(purse.token, 1);
  }
  for (const { kind, command } of batch) {
    const claim = kind.claim(command);
    if (claim === null) continue;
    places.push(part(claim));
    keys += 1;
  }
  return { shards, keys, places };
}

const ANSWERS = '\u001e';
const PARTS = '\u001f';
const NINE = 57;

function cut(reply: unknown): readonly Reply[] {
  const answers: Reply[] = String(reply).split(ANSWERS);
  for (let i = 0; i < answers.length; i++) {
    const answer = answers[i] as string;
    // Only a number begins with a digit.
    if (!(answer.charCodeAt(0) <= NINE)) answers[i] = answer.split(PARTS);
  }
  return answers;
}

const part = (key: string): string => `$${key.length}\r\n${key}\r\n`;
