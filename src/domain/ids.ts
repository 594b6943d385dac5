import { randomBytes, randomFillSync } from 'node:crypto';

declare const brand: unique symbol;
type Id<Name extends string> = string & { readonly [brand]: Name };

/** `org_` + two digits of shard + 14 base62 characters. */
export type OrgId = Id<'OrgId'>;
/** `tok_` + two digits of shard + 12 base62 characters; the same shard as its organization. */
export type TokenId = Id<'TokenId'>;
/** `req_` + 32 hex digits of a UUIDv7: sorts by time, and is made here, never by the client. */
export type RequestId = Id<'RequestId'>;

/** `key_` + 14 base62 characters: a management key. */
export type KeyId = Id<'KeyId'>;
/** `opk_` + 14 base62 characters: an operator key besides the one of the data folder. */
export type OperatorKeyId = Id<'OperatorKeyId'>;
/** `role_` + 14 base62 characters: a role an organization made for itself. */
export type RoleId = Id<'RoleId'>;

/** Hot state is cut into this many hash tags, `{00}` … `{63}`. Fixed for ever: it is written into every token. */
export const SHARDS = 64;

/** `usr_` + 32 hex digits of a UUIDv7. */
export type PersonId = Id<'PersonId'>;

const ORG = /^org_([0-5]\d|6[0-3])[0-9A-Za-z]{14}$/;
const TOKEN = /^tok_([0-5]\d|6[0-3])[0-9A-Za-z]{12}$/;
const REQUEST = /^req_[0-9a-f]{32}$/;
const KEY = /^key_[0-9A-Za-z]{14}$/;
const OPERATOR_KEY = /^opk_[0-9A-Za-z]{14}$/;
const ROLE = /^role_[0-9A-Za-z]{14}$/;
const PERSON = /^usr_[0-9a-f]{32}$/;

export const isOrgId = (text: string): text is OrgId => ORG.test(text);
export const isTokenId = (text: string): text is TokenId => TOKEN.test(text);
export const isPersonId = (text: string): text is PersonId => PERSON.test(text);
export const isRequestId = (text: string): text is RequestId => REQUEST.test(text);
export const isKeyId = (text: string): text is KeyId => KEY.test(text);
export const isOperatorKeyId = (text: string): text is OperatorKeyId => OPERATOR_KEY.test(text);
export const isRoleId = (text: string): text is RoleId => ROLE.test(text);

/** `07` for `org_07…` and `tok_07…`: the hash tag under which everything of an organization lives. */
export const shardOf = (id: OrgId | TokenId): string => id.slice(4, 6);

export function newOrgId(shard: number = randomBytes(1).readUInt8(0) % SHARDS): OrgId {
  return `org_${String(shard).padStart(2, '0')}${base62(14)}` as OrgId;
}

export function newTokenId(org: OrgId): TokenId {
  return `tok_${shardOf(org)}${base62(12)}` as TokenId;
}

export const newKeyId = (): KeyId => `key_${base62(14)}` as KeyId;
export const newOperatorKeyId = (): OperatorKeyId => `opk_${base62(14)}` as OperatorKeyId;
export const newRoleId = (): RoleId => `role_${base62(14)}` as RoleId;

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Uniform base62 text from the system's random source; bytes above 247 are dropped so that no digit is favoured. */
export function base62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length * 2)) {
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62];
    }
  }
  return text;
}

const pool = Buffer.alloc(8 * 512);
let poolAt = pool.length;
let lastMs = 0;
let counter = 0;

/** A clock that was set back by more than this had been wrong. Were its ids kept in order, none of them could be booked for days. */
const SET_BACK_MS = 60_000;

/** A UUIDv7 whose 12-bit counter keeps ids of one process in order within a millisecond, and while a clock is put right by a little. */
export function newRequestId(nowMs: number = Date.now()): RequestId {
  const isOther = nowMs > lastMs || nowMs < lastMs - SET_BACK_MS;
  if (isOther || counter === 0xfff) {
    lastMs = isOther ? nowMs : lastMs + 1;
    counter = 0;
    writeHex(4, 12, lastMs);
  } else counter += 1;
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  pool[poolAt] = ((pool[poolAt] ?? 0) & 0x3f) | 0x80;
  writeHex(17, 3, counter);
  for (let i = 0; i < 8; i++) writeHex(20 + 2 * i, 2, pool[poolAt + i] ?? 0);
  poolAt += 8;
  return idText.toString('latin1') as RequestId;
}

/** An id is written digit by digit into one buffer: a text in one piece, which nobody has to put together again to look at it. */
const idText = Buffer.from(`req_${'0'.repeat(12)}7${'0'.repeat(19)}`, 'latin1');
const HEX = Buffer.from('0123456789abcdef', 'latin1');

function writeHex(at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    idText[i] = HEX[rest % 16] ?? 0;
    rest = Math.floor(rest / 16);
  }
}

/** `usr_…`, `ses_…`: sorts by time like a request's. */
export const newTimedId = (prefix: string): string => `${prefix}_${newRequestId().slice(4)}`;
export const newPersonId = (): PersonId => newTimedId('usr') as PersonId;

/** An id for something that happened at another time than now; its place among those of the same millisecond is random. */
export function requestIdAt(ms: number): RequestId {
  const random = randomBytes(10);
  random[2] = ((random[2] ?? 0) & 0x3f) | 0x80;
  const hex = random.toString('hex');
  return `req_${Math.floor(ms).toString(16).padStart(12, '0')}7${hex.slice(0, 3)}${hex.slice(4)}` as RequestId;
}

/** The moment a request id was made, in milliseconds; this decides its partition and its day. */
export const requestTimeMs = (id: RequestId): number => Number.parseInt(id.slice(4, 16), 16);
