import { open } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import type { MicroCredits } from '../domain/credits.js';
import { isOrgId, isRequestId, isTokenId, type OrgId, type RequestId, type TokenId } from '../domain/ids.js';

export interface HeldLine {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly amount: MicroCredits;
  readonly floor: MicroCredits;
  readonly note: string;
}

export interface SettledLine {
  readonly requestId: RequestId;
  readonly orgId: OrgId;
  readonly tokenId: TokenId;
  readonly cost: MicroCredits;
  readonly event: string;
}

export type Line = ({ readonly kind: 'held' } & HeldLine) | ({ readonly kind: 'settled' } & SettledLine);

/** Postgres has these: whoever reads the journal after a kill has nothing to say of them any more. */
export interface BookedLine {
  readonly kind: 'booked';
  readonly requestIds: readonly RequestId[];
}

export const bookedLine = (requestIds: readonly RequestId[]): string => `${BOOKED}${requestIds.join(' ')}`;

const BOOKED = 'B\t';

/** What stands in front of the JSON. What the gateway writes says whose it is in its first words; the line need not say it again. */
export const heldHead = (line: HeldLine): string =>
  isNamed(line.note) ? `H\t${line.amount}\t${line.floor}\t` : longHead('h', line, line.amount, line.floor);

export const settledHead = (line: SettledLine): string =>
  isNamed(line.event) ? `S\t${line.cost}\t0\t` : longHead('s', line, line.cost, 0);

const isNamed = (json: string): boolean => json.startsWith('{"request_id":"');

const longHead = (letter: string, ids: Pick<HeldLine, 'requestId' | 'orgId' | 'tokenId'>, amount: number, floor: number): string =>
  `${letter}\t${ids.requestId}\t${ids.orgId}\t${ids.tokenId}\t${amount}\t${floor}\t`;

/** A millisecond or two of reading; in between everybody else has a turn. */
const PIECE_BYTES = 64 * 1024;

/**
 * Tells every line of a segment, one piece of the file in each turn of the event loop: null for what cannot be read. A line
 * that was not finished is not told. A file that is gone has no lines.
 */
export async function readLines(path: string, tell: (line: Line | BookedLine | null, text: string) => void): Promise<void> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!file) return;
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    const decoder = new StringDecoder('utf8');
    let rest = '';
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, null);
      if (bytesRead === 0) return;
      const texts = (rest + decoder.write(piece.subarray(0, bytesRead))).split('\n');
      rest = texts.pop() ?? '';
      for (const text of texts) if (text !== '') tell(lineOf(text), text);
    }
  } finally {
    await file.close();
  }
}

const DIGITS = /^\d{1,15}$/;

const NAMES = /^\{"request_id":"(\w+)","org_id":"(\w+)","token_id":"(\w+)"/;

/** A short line, with the names put back in front. */
function lengthened(text: string): string {
  if (text[1] !== '\t' || (text[0] !== 'H' && text[0] !== 'S')) return text;
  const json = text.slice(text.indexOf('{'));
  return [text.charAt(0).toLowerCase(), ...(NAMES.exec(json) ?? []).slice(1), text.slice(2)].join('\t');
}

function bookedIn(text: string): BookedLine | null {
  const requestIds = text.slice(BOOKED.length).split(' ').filter(isRequestId);
  return text === bookedLine(requestIds) ? { kind: 'booked', requestIds } : null;
}

function lineOf(text: string): Line | BookedLine | null {
  if (text.startsWith(BOOKED)) return bookedIn(text);
  const [kind, requestId = '', orgId = '', tokenId = '', amount = '', floor = '', ...rest] = lengthened(text).split('\t');
  const json = rest.join('\t');
  const sound =
    isRequestId(requestId) && isOrgId(orgId) && isTokenId(tokenId) && DIGITS.test(amount) && DIGITS.test(floor) && json.endsWith('}');
  if (!sound) return null;
  const micro = Number(amount) as MicroCredits;
  if (kind === 'h') return { kind: 'held', requestId, orgId, tokenId, amount: micro, floor: Number(floor) as MicroCredits, note: json };
  return kind === 's' ? { kind: 'settled', requestId, orgId, tokenId, cost: micro, event: json } : null;
}
