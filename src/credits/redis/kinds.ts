import { shardOf } from '../../domain/ids.js';
import type {
  ExtendAnswer,
  ExtendCommand,
  HoldAnswer,
  HoldCommand,
  ReholdAnswer,
  ReholdCommand,
  SettleAnswer,
  SettleCommand,
  Unavailable,
} from '../store.js';
import { amount, holdAnswer } from './answers.js';
import { unavailable } from './failures.js';
import type { Reply } from './lanes.js';
import type { Packet } from './packet.js';

export type RequestCommand = Pick<HoldCommand, 'requestId' | 'orgId' | 'tokenId'>;

/** How one of the verbs of a request is written as `spend.lua` reads it, and its answer read. */
export interface Kind<C extends RequestCommand, A> {
  readonly letter: number;
  /** How much `write` writes: the head after the request id. */
  readonly restBytes: number;
  write(packet: Packet, command: C): void;
  /** What is given with it, written as one part. */
  give(packet: Packet, command: C): void;
  /** The key that is claimed with it. */
  claim(command: C): string | null;
  answer(reply: Reply, command: C, life: string): A | Unavailable;
}

const NUMBERS_BYTES = 24;
/** H, amount, floor, token id: what is kept of a request in front of its note. */
const FACTS_BYTES = 35;
const WHO_BYTES = 92;
const none = (): null => null;

export const HOLD: Kind<HoldCommand, HoldAnswer> = {
  letter: 72,
  restBytes: NUMBERS_BYTES + WHO_BYTES,
  write: (packet, { tokens, leaseMs, orgVersion, orgId, digest, tokenVersion }) => {
    numbers(packet, tokens, leaseMs, orgVersion);
    packet.ascii(orgId);
    packet.ascii(digest);
    packet.i64(tokenVersion);
  },
  give: (packet, { amount, tokenId, note }) =>
    packet.text(note, FACTS_BYTES, () => {
      packet.u8(72);
      packet.i64(amount);
      packet.i64(0);
      packet.ascii(tokenId);
    }),
  claim: ({ tokenId, idempotencyKey }) => (idempotencyKey === null ? null : `{${shardOf(tokenId)}}:claim:${tokenId}:${idempotencyKey}`),
  answer: (reply, command) =>
    typeof reply === 'string' ? { kind: 'held', amount: command.amount, remaining: amount(reply), repeated: false } : holdAnswer(reply),
};

export const SETTLE: Kind<SettleCommand, SettleAnswer> = {
  letter: 83,
  restBytes: NUMBERS_BYTES,
  write: (packet, { cost, kind, ifDue }) => numbers(packet, cost, kind === 'final' ? 1 : 0, ifDue ? 1 : 0),
  give: (packet, { event }) => packet.text(event ?? ''),
  claim: none,
  answer: (reply, _, epoch) => {
    if (typeof reply === 'string') return { kind: 'settled', remaining: amount(reply), repeated: false, epoch };
    if (reply[0] === 'not_due') return { kind: 'not_due' };
    if (reply[0] !== 'settled') return unavailable('broken', true);
    return { kind: 'settled', remaining: amount(reply[1]), repeated: true, epoch };
  },
};

export const EXTEND: Kind<ExtendCommand, ExtendAnswer> = {
  letter: 69,
  restBytes: NUMBERS_BYTES,
  write: (packet, { amount, floor, leaseMs }) => numbers(packet, amount, floor, leaseMs),
  give: (packet, { note }) => packet.text(note),
  claim: none,
  answer: (reply) => {
    if (reply[0] === 'gone') return { kind: 'gone' };
    if (reply[0] !== 'extended' && reply[0] !== 'short') return unavailable('broken', true);
    return { kind: reply[0], amount: amount(reply[1]) };
  },
};

export const REHOLD: Kind<ReholdCommand, ReholdAnswer> = {
  letter: 82,
  restBytes: NUMBERS_BYTES,
  write: EXTEND.write,
  give: (packet, { note }) => packet.text(note),
  claim: none,
  answer: (reply) => (reply[0] === 'held' || reply[0] === 'settled' ? { kind: reply[0] } : unavailable('broken', true)),
};

function numbers(packet: Packet, a: number, b: number, c: number): void {
  packet.i64(a);
  packet.i64(b);
  packet.i64(c);
}
