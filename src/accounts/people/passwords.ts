import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

/** How a password is stretched; written into every hash, so that it can be raised without asking anybody anew. */
export interface PasswordCost {
  readonly log2n: number;
  readonly r: number;
  readonly p: number;
}

/** About a third of a second and 128 MB on a small machine. */
const STANDARD: PasswordCost = { log2n: 17, r: 8, p: 1 };
const KEY_BYTES = 32;
const WAITING_MAX = 40;

export interface Passwords {
  hash(password: string): Promise<string>;
  verify(given: { readonly hash: string; readonly password: string }): Promise<boolean>;
}

/** Too many people sign in at this moment. Nothing was decided. */
export class PasswordsBusy extends Error {
  override readonly name = 'PasswordsBusy';
}

/**
 * Hashes in threads of the process, never on its event loop, and one at a time: four at once would take every thread
 * that also writes files, and with them every core from the requests that pay.
 */
export function createPasswords(cost: PasswordCost = STANDARD): Passwords {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    if (waiting >= WAITING_MAX) throw new PasswordsBusy('too many passwords wait to be checked');
    waiting += 1;
    const turn = last.then(work, work).finally(() => {
      waiting -= 1;
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    hash: (password) =>
      inTurn(async () => {
        const salt = randomBytes(16);
        const key = await stretch(password, salt, cost);
        return ['scrypt', cost.log2n, cost.r, cost.p, salt.toString('base64url'), key.toString('base64url')].join('$');
      }),
    verify: ({ hash, password }) =>
      inTurn(async () => {
        const [, log2n, r, p, salt = '', key = ''] = HASH.exec(hash) ?? [];
        if (log2n === undefined) return false;
        const stored = Buffer.from(key, 'base64url');
        const found = await stretch(password, Buffer.from(salt, 'base64url'), { log2n: Number(log2n), r: Number(r), p: Number(p) });
        return stored.length === found.length && timingSafeEqual(stored, found);
      }),
  };
}

const HASH = /^scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([\w-]{22})\$([\w-]{43})$/;

function stretch(password: string, salt: Buffer, { log2n, r, p }: PasswordCost): Promise<Buffer> {
  const N = 2 ** log2n;
  return new Promise((done, failed) => {
    scrypt(password.normalize('NFKC'), salt, KEY_BYTES, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
      error ? failed(error) : done(key),
    );
  });
}

export const PASSWORD_MIN = 12;
export const PASSWORD_MAX = 200;

/** Length is what counts; beyond that only what anybody would try first is refused. */
export function passwordProblem(password: string, email: string): string | undefined {
  const length = [...password].length;
  if (length < PASSWORD_MIN) return `Use at least ${PASSWORD_MIN} characters; a few words are fine.`;
  if (length > PASSWORD_MAX) return `At most ${PASSWORD_MAX} characters.`;
  const small = password.toLowerCase();
  if (new Set(small).size < 5) return 'Use more than a few different characters.';
  const [name = ''] = email.toLowerCase().split('@');
  if (small === email.toLowerCase() || (name.length >= 4 && small.replaceAll(name, '').length < PASSWORD_MIN - 4))
    return 'Do not use your e-mail address as the password.';
  const lettersBeside = (word: string): number => small.replaceAll(word, '').replace(/[\d\W_]/g, '').length;
  if (OBVIOUS.some((word) => small.includes(word) && lettersBeside(word) < 4))
    return 'This is one of the first passwords anybody would try.';
  return undefined;
}

const OBVIOUS = ['password', 'passwort', '1234567890', '123456', 'qwertyuiop', 'qwerty', 'abcdefgh', 'letmein', 'iloveyou', 'farebox'];
