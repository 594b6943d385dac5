import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { base62, isKeyId, isOperatorKeyId, isTokenId, type KeyId, type OperatorKeyId, type TokenId } from './ids.js';

const SECRET_LENGTH = 32;
const MANAGE = /^mk-fb-([0-9A-Za-z]{14})-([0-9A-Za-z]{38})$/;
const SPEND = /^sk-fb-([0-9A-Za-z]{14})-([0-9A-Za-z]{38})$/;
const OPERATE = /^ok-fb-([0-9A-Za-z]{14})-([0-9A-Za-z]{38})$/;
/** A key of the operator's own making needs length, not our check digits. */
const OPERATOR = /^ok-fb-[0-9A-Za-z_-]{24,200}$/;

/** `sk-fb-<token id>-<secret><check>`. Shown once; only a keyed digest of it is stored. */
export function newTokenSecret(tokenId: TokenId): string {
  const head = `sk-fb-${tokenId.slice(4)}-${base62(SECRET_LENGTH)}`;
  return head + checkOf(head);
}

/** The token id of a well-formed secret. A wrong check digit costs no look-up anywhere. */
export function tokenIdOf(secret: string): TokenId | undefined {
  const match = SPEND.exec(secret);
  if (!match || !checks(secret)) return undefined;
  const id = `tok_${match[1]}`;
  return isTokenId(id) ? id : undefined;
}

/** `mk-fb-<key id>-<secret><check>`, in the same way. */
export function newManagementSecret(keyId: KeyId): string {
  const head = `mk-fb-${keyId.slice(4)}-${base62(SECRET_LENGTH)}`;
  return head + checkOf(head);
}

export function keyIdOf(secret: string): KeyId | undefined {
  const match = MANAGE.exec(secret);
  if (!match || !checks(secret)) return undefined;
  const id = `key_${match[1]}`;
  return isKeyId(id) ? id : undefined;
}

export function newOperatorKey(): string {
  const head = `ok-fb-${base62(SECRET_LENGTH)}`;
  return head + checkOf(head);
}

/** `ok-fb-<key id>-<secret><check>`: further operator keys, kept in the database as the others are. */
export function newOperatorSecret(id: OperatorKeyId): string {
  const head = `ok-fb-${id.slice(4)}-${base62(SECRET_LENGTH)}`;
  return head + checkOf(head);
}

export function operatorKeyIdOf(secret: string): OperatorKeyId | undefined {
  const match = OPERATE.exec(secret);
  if (!match || !checks(secret)) return undefined;
  const id = `opk_${match[1]}`;
  return isOperatorKeyId(id) ? id : undefined;
}

export const isOperatorKey = (text: string): boolean => OPERATOR.test(text);

/** Keyed digest of a secret: without the pepper a stolen table cannot be tested against guesses. */
export function digestOf(secret: string, pepper: string): string {
  return createHmac('sha256', pepper).update(secret).digest('hex');
}

/** A cheap fingerprint for process-local caches, so that no secret is kept as a key. */
export const fingerprintOf = (secret: string): string => hash('sha256', secret);

/** Comparison in constant time whatever the lengths, because both sides are hashed first. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(hash('sha256', a), 'hex'), Buffer.from(hash('sha256', b), 'hex'));
}

const checks = (text: string): boolean => checkOf(text.slice(0, -6)) === text.slice(-6);

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

function checkOf(text: string): string {
  let rest = crc32(text);
  let check = '';
  for (let i = 0; i < 6; i++) {
    check = DIGITS.charAt(rest % 62) + check;
    rest = Math.floor(rest / 62);
  }
  return check;
}
