import { createHmac } from 'node:crypto';
import { digestOf } from './secrets.js';

/** Crockford's alphabet: no I, L, O and U, so that nothing is misread or spelled. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const LENGTH = 25;
const GROUP = 5;

/**
 * The code number `index` of a batch: 125 bits drawn from its seed, as five groups of five. From a seed, because a
 * request that is repeated has to be shown the same codes, and 10,000 of them are not stored anywhere.
 */
export function codeOf(seed: string, index: number): string {
  const bytes = createHmac('sha256', seed).update(`code ${index}`).digest();
  const groups: string[] = [];
  for (let at = 0; at < LENGTH; at += GROUP) {
    groups.push(Array.from(bytes.subarray(at, at + GROUP), (byte) => ALPHABET.charAt(byte & 31)).join(''));
  }
  return groups.join('-');
}

/** A code as it was meant, however it was typed: small letters, spaces, dashes, O for 0, I or L for 1. */
export function meantCode(typed: string): string | undefined {
  const text = typed
    .slice(0, 200)
    .toUpperCase()
    .replace(/[\s\-\u2010-\u2015_]/g, '')
    .replaceAll('O', '0')
    .replace(/[IL]/g, '1');
  return text.length === LENGTH && [...text].every((letter) => ALPHABET.includes(letter)) ? text : undefined;
}

/** What is stored of a code; `code` without dashes. */
export const codeDigest = (code: string, pepper: string): string => digestOf(`code ${code.replaceAll('-', '')}`, pepper);
