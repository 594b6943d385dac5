import { microCredits } from '../../domain/credits.js';
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

/** The ids of a command as they are written. */
export interface Ids {
  readonly orgBytes: Buffer;
  readonly tokenBytes: Buffer;
}

/** How one of the verbs of a request is written as `spend.lua` reads it, and its answer read. */
export interface Kind<C extends RequestCommand, A> {
  /** The answer of nobody's request depends on it. */
  readonly patient: boolean;
  letter(command: C): number;
  /** How many bytes `head` writes; 0 = it has none. */
  readonly headBytes: number;
  head(packet: Packet, command: C, purse: Ids, checked: Checked | undefined): void;
  /** What is given with it, written as one part. */
  give(packet: Packet, command: C, purse: Ids): void;
  /** The key that is claimed with it. */
  claim(command: C): string | null;
  /** A number is what remains when all went as asked; else a word and what belongs to it. */
  answer(reply: Reply, command: C, told: { readonly life: string; remember(checked: Checked): void }): A | Unavailable;
}

/** Who was found to be a token without rules, and by which word the script will know that nothing has changed since. */
export interface Checked {
  readonly life: string;
  readonly digest: string;
  readonly tokenVersion: number;
  readonly word: Buffer;
}

const NOT_CHECKED = Buffer.from('-'.repeat(16));

const LETTER = { settle: 83, settleDue: 68, final: 67, floor: 70, hold: 72, extend: 69, rehold: 82 } as const;
const noClaim = (): null => null;

/** What is kept of a request in front of its note: H, amount, floor, token id. */
const facts = {
  bytes: 35,
  write: (packet: Packet, { amount }: HoldCommand, { tokenBytes }: Ids): void => {
    packet.u8(LETTER.hold);
    packet.f64(amount);
    packet.f64(0);
    packet.bytes(tokenBytes);
  },
};

/** What is queued for the drain in front of an event: F or C, cost, org id, request id. */
const charge = {
  bytes: 65,
  write: (packet: Packet, { kind, cost, requestId }: SettleCommand, { orgBytes }: Ids): void => {
    packet.u8(LETTER[kind]);
    packet.f64(cost);
    packet.bytes(orgBytes);
    packet.ascii(requestId);
  },
};

export const HOLD: Kind<HoldCommand, HoldAnswer> = {
  patient: false,
  letter: () => LETTER.hold,
  headBytes: 168,
  head: (packet, { leaseMs, orgVersion, requestId, digest, tokenVersion, tokens }, { orgBytes }, checked) => {
    packet.f64(leaseMs);
    packet.f64(orgVersion);
    packet.ascii(requestId);
    packet.bytes(checked?.digest === digest && checked.tokenVersion === tokenVersion ? checked.word : NOT_CHECKED);
    packet.f64(tokens);
    packet.bytes(orgBytes);
    packet.ascii(digest);
    packet.i64(tokenVersion);
  },
  give: (packet, command, purse) => packet.textAfter(facts, command, purse, command.note),
  claim: ({ tokenId, idempotencyKey }) => (idempotencyKey === null ? null : `{${shardOf(tokenId)}}:claim:${tokenId}:${idempotencyKey}`),
  answer: (reply, command, told) => {
    if (typeof reply === 'number') return { kind: 'held', amount: command.amount, remaining: microCredits(reply), repeated: false };
    if (reply[0] !== 'first') return holdAnswer(reply);
    const { digest, tokenVersion } = command;
    told.remember({
      life: told.life,
      digest,
      tokenVersion,
      word: Buffer.from(String(reply[2]).padEnd(NOT_CHECKED.length).slice(0, NOT_CHECKED.length), 'latin1'),
    });
    return { kind: 'held', amount: command.amount, remaining: amount(reply[1]), repeated: false };
  },
};

export const SETTLE: Kind<SettleCommand, SettleAnswer> = {
  patient: true,
  letter: ({ ifDue }) => (ifDue ? LETTER.settleDue : LETTER.settle),
  headBytes: 0,
  head: () => undefined,
  give: (packet, command, purse) => packet.textAfter(charge, command, purse, command.event ?? ''),
  claim: noClaim,
  answer: (reply, _, { life: epoch }) => {
    if (typeof reply === 'number') return { kind: 'settled', remaining: microCredits(reply), repeated: false, epoch };
    if (reply[0] === 'not_due') return { kind: 'not_due' };
    if (reply[0] !== 'settled') return unavailable('broken', true);
    return { kind: 'settled', remaining: amount(reply[1]), repeated: true, epoch };
  },
};

export const EXTEND: Kind<ExtendCommand, ExtendAnswer> = {
  patient: false,
  letter: () => LETTER.extend,
  headBytes: 60,
  head: (packet, command) => {
    packet.f64(command.amount);
    packet.f64(command.floor);
    packet.f64(command.leaseMs);
    packet.ascii(command.requestId);
  },
  give: (packet, { note }) => packet.text(note),
  claim: noClaim,
  answer: (reply) => {
    if (typeof reply === 'number') return unavailable('broken', true);
    if (reply[0] === 'gone') return { kind: 'gone' };
    if (reply[0] !== 'extended' && reply[0] !== 'short') return unavailable('broken', true);
    return { kind: reply[0], amount: amount(reply[1]) };
  },
};

export const REHOLD: Kind<ReholdCommand, ReholdAnswer> = {
  ...EXTEND,
  letter: () => LETTER.rehold,
  answer: (reply) => {
    const word = typeof reply === 'number' ? undefined : reply[0];
    return word === 'held' || word === 'settled' ? { kind: word } : unavailable('broken', true);
  },
};
