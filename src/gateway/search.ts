/** Above this the runtime's own search is faster; below it, crossing over to it costs more than looking. */
const SMALL_BYTES = 896;
/** Looking from the end: so far back, step by step. */
const NEAR_BYTES = 2_048;

/** Finds the last of a text of ASCII that starts at `from` or before. What is looked for stands near the end. */
export function lastFinderOf(text: string): (bytes: Buffer, from: number) => number {
  const pattern = Buffer.from(text, 'latin1');
  const { length } = pattern;
  const first = pattern[0];
  const skip = new Uint8Array(256).fill(length);
  for (let i = length - 1; i > 0; i--) skip[pattern[i] ?? 0] = i;
  return (bytes, from) => {
    const top = Math.min(from, bytes.length - length);
    const bottom = Math.max(0, top - NEAR_BYTES);
    for (let at = top; at >= bottom; ) {
      const byte = bytes[at] as number;
      if (byte === first && isThere(bytes, at, pattern)) return at;
      at -= skip[byte] as number;
    }
    return bottom > 0 ? bytes.lastIndexOf(pattern, bottom - 1) : -1;
  };
}

/**
 * Finds a text of ASCII in small buffers, Boyer, Moore and Horspool's way: it looks at every sixth byte or so. A stream passes
 * through it chunk by chunk, so this is where a streamed byte costs most.
 */
export function finderOf(text: string): (bytes: Buffer, from: number) => number {
  const pattern = Buffer.from(text, 'latin1');
  const last = pattern.length - 1;
  const lastByte = pattern[last];
  const skip = new Uint8Array(256).fill(pattern.length);
  for (let i = 0; i < last; i++) skip[pattern[i] ?? 0] = last - i;
  return (bytes, from) => {
    const { length } = bytes;
    if (length > SMALL_BYTES) return bytes.indexOf(pattern, from);
    for (let end = from + last; end < length; ) {
      const byte = bytes[end] as number;
      // Each step asks for one byte only; asking the pattern for its own as well would cost as much again.
      if (byte === lastByte && isThere(bytes, end - last, pattern)) return end - last;
      end += skip[byte] as number;
    }
    return -1;
  };
}

function isThere(bytes: Buffer, start: number, pattern: Buffer): boolean {
  for (let i = 0; i < pattern.length; i++) if (bytes[start + i] !== pattern[i]) return false;
  return true;
}
