import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** Signs the places where pages end, so that a cursor is opaque, and good only for the list and filters it was made for. */
export interface Cursors {
  make(place: readonly string[], filters: unknown): string;
  /** The place, or what is wrong with the cursor. */
  read(cursor: string, filters: unknown): readonly string[] | 'cursor_invalid' | 'cursor_mismatch';
}

const SIGNATURE_BYTES = 16;
const CURSOR_LENGTH_MAX = 600;

export function createCursors(pepper: string): Cursors {
  const sign = (text: string): Buffer => createHmac('sha256', `${pepper}\u0000cursor`).update(text).digest().subarray(0, SIGNATURE_BYTES);
  return {
    make: (place, filters) => {
      const text = JSON.stringify([hashOf(filters), ...place]);
      return Buffer.concat([sign(text), Buffer.from(text)]).toString('base64url');
    },
    read: (cursor, filters) => {
      if (cursor.length > CURSOR_LENGTH_MAX || !/^[\w-]+$/.test(cursor)) return 'cursor_invalid';
      const bytes = Buffer.from(cursor, 'base64url');
      const text = bytes.subarray(SIGNATURE_BYTES).toString('utf8');
      const signature = bytes.subarray(0, SIGNATURE_BYTES);
      if (signature.length < SIGNATURE_BYTES || !timingSafeEqual(signature, sign(text))) return 'cursor_invalid';
      const [hash, ...place] = JSON.parse(text) as string[];
      return hash === hashOf(filters) ? place : 'cursor_mismatch';
    },
  };
}

const hashOf = (filters: unknown): string => createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 16);
