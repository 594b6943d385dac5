/**
 * Cuts long unbroken runs, on which tokenizers are quadratic, into pieces of 128 characters. The two classes cover every
 * piece the patterns of o200k and cl100k can make, so no piece grows beyond a few hundred characters. Ordinary text
 * comes back as it was. Never cuts inside a surrogate pair.
 */
export function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  let from = 0;
  for (const match of text.matchAll(LONG_RUN)) {
    if (match.index > from) pieces.push(text.slice(from, match.index));
    from = match.index + match[0].length;
    cut(text, match.index, from, pieces);
  }
  if (from < text.length) pieces.push(text.slice(from));
  return pieces;
}

const RUN = 128;
const LONG_RUN = /[^\p{L}\p{N}]{128,}|[\p{L}\p{M}]{128,}/gu;

function cut(text: string, from: number, to: number, into: string[]): void {
  let at = from;
  while (at < to) {
    let end = Math.min(at + RUN, to);
    if (end < to && isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    into.push(text.slice(at, end));
    at = end;
  }
}

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;
