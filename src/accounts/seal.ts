import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** The row a sealed text belongs to: its table and key. Whoever moves the text to another row makes it unreadable. */
export type Place = readonly [table: string, ...key: string[]];

/** Texts of servers before places were bound have no mark; they end within a day, and cannot be made from ones that have it. */
const BOUND = 'p1.';

/** Encrypts a text that has to wait in the database for a repeated request, so that a stolen table shows nothing. */
export function seal(text: string, pepper: string, place: Place): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', keyOf(pepper), iv).setAAD(bytesOf(place));
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return BOUND + Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64');
}

export function unseal(sealed: string, pepper: string, place: Place): string {
  const isBound = sealed.startsWith(BOUND);
  const bytes = Buffer.from(isBound ? sealed.slice(BOUND.length) : sealed, 'base64');
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyOf(pepper), bytes.subarray(0, 12), { authTagLength: 16 });
    if (isBound) decipher.setAAD(bytesOf(place));
    decipher.setAuthTag(bytes.subarray(12, 28));
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new Error(`a sealed value in ${place[0]} cannot be opened: FAREBOX_SECRET is another one, or the value was changed or moved`, {
      cause,
    });
  }
}

const bytesOf = (place: Place): Buffer => Buffer.from(JSON.stringify(place));

const keyOf = (pepper: string): Buffer => Buffer.from(hkdfSync('sha256', pepper, '', 'farebox idempotency', 32));
