/** Where a top-level key and its value stand in the bytes of a JSON object. */
export interface Member {
  readonly key: string;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
export const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** True when nothing in the bytes is nested deeper than `max`. JSON.parse would accept a million levels. */
export function depthWithin(bytes: Buffer, max: number): boolean {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) i = endOfString(bytes, i) - 1;
    else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth += 1;
      if (depth > max) return false;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth -= 1;
  }
  return true;
}

/** The members of the outermost object, in order, duplicates included. The bytes are known to be valid JSON. */
export function topLevelMembers(bytes: Buffer): Member[] {
  const members: Member[] = [];
  let i = bytes.indexOf(OPEN_OBJECT) + 1;
  while (i > 0 && i < bytes.length) {
    const keyStart = bytes.indexOf(QUOTE, i);
    if (keyStart < 0) break;
    const keyEnd = endOfString(bytes, keyStart);
    const colon = bytes.indexOf(COLON, keyEnd);
    if (colon < 0) break;
    const valueStart = skipSpace(bytes, colon + 1);
    const valueEnd = endOfValue(bytes, valueStart);
    members.push({ key: keyText(bytes, keyStart, keyEnd), valueStart, valueEnd });
    const next = skipSpace(bytes, valueEnd);
    if (bytes[next] !== COMMA) break;
    i = next + 1;
  }
  return members;
}

function keyText(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start, end);
  if (!raw.includes('\\')) return raw.slice(1, -1);
  try {
    return String(JSON.parse(raw));
  } catch {
    return raw;
  }
}

function skipSpace(bytes: Buffer, at: number): number {
  let i = at;
  while (i < bytes.length && (bytes[i] ?? 0) <= 0x20) i += 1;
  return i;
}

/** The index after the closing quote of the string that starts at `start`. */
function endOfString(bytes: Buffer, start: number): number {
  let end = bytes.indexOf(QUOTE, start + 1);
  while (end > 0) {
    let slashes = 0;
    while (bytes[end - 1 - slashes] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end + 1;
    end = bytes.indexOf(QUOTE, end + 1);
  }
  return bytes.length;
}

/** The index after the value that starts at `start`: a string, an object, an array or a bare word. */
export function endOfValue(bytes: Buffer, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return endOfString(bytes, start);
  if (first !== OPEN_OBJECT && first !== OPEN_ARRAY) {
    let i = start;
    while (i < bytes.length && !isEndOfWord(bytes[i] ?? 0)) i += 1;
    return i;
  }
  let depth = 0;
  for (let i = start; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) i = endOfString(bytes, i) - 1;
    else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1;
      if (depth === 0) return i + 1;
    }
  }
  return bytes.length;
}

/**
 * Which of some names are keys of the outermost object with a value that is not null. One step for each byte, whatever is in them, and
 * nothing is made of it. A name that is written with escapes is not found.
 */
export function outermost(bytes: Buffer, names: readonly Buffer[]): boolean[] {
  const found = names.map(() => false);
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth -= 1;
    if (byte !== QUOTE) continue;
    const start = i + 1;
    for (i = start; i < bytes.length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i += 1;
    if (depth !== 1) continue;
    const colon = skipSpace(bytes, i + 1);
    if (bytes[colon] !== COLON) continue;
    const which = nameAt(bytes, start, i, names);
    if (which >= 0) found[which] = !isNull(bytes, skipSpace(bytes, colon + 1));
  }
  return found;
}

const nameAt = (bytes: Buffer, start: number, end: number, names: readonly Buffer[]): number =>
  names.findIndex((name) => name.length === end - start && name.equals(bytes.subarray(start, end)));

const isNull = (bytes: Buffer, at: number): boolean =>
  bytes[at] === 0x6e && bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c;

const isEndOfWord = (byte: number): boolean => byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || byte <= 0x20;

/** A byte range and what stands there instead. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Replaces byte ranges; everything else stays the very bytes the client sent. */
export function splice(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const edit of [...edits].sort((a, b) => a.start - b.start)) {
    parts.push(bytes.subarray(at, edit.start), Buffer.from(edit.text));
    at = edit.end;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}
