/** Above this the runtime's own search is faster; below it, crossing over to it costs more than looking. */
const SMALL_BYTES = 2_048;

/** Finds the last of a text of ASCII that starts at `from` or before. What is looked for stands near the end. */
export function lastFinderOf(text: string): (bytes: Buffer, from: number) => number {
  const pattern = Buffer.from(text, 'latin1');
  const first = pattern[0];
  return (bytes, from) => {
    const top = Math.min(from, bytes.length - pattern.length);
    const bottom = Math.max(0, top - SMALL_BYTES);
    for (let at = top; at >= bottom; at--) {
      if (bytes[at] !== first) continue;
      let i = 1;
      while (i < pattern.length && bytes[at + i] === pattern[i]) i += 1;
      if (i === pattern.length) return at;
    }
    return bottom > 0 ? bytes.lastIndexOf(pattern, bottom - 1) : -1;
  };
}

/**
 * Finds a text of ASCII in small buffers, Boyer, Moore and Horspool's way: it looks at every seventh byte or so. A stream
 * passes through it chunk by chunk, so this is where a streamed byte costs most.
 */
export function finderOf(text: string): (bytes: Buffer, from: number) => number {
  const pattern = Buffer.from(text, 'latin1');
  const last = pattern.length - 1;
  const skip = new Uint8Array(256).fill(pattern.length);
  for (let i = 0; i < last; i++) skip[pattern[i] ?? 0] = last - i;
  return (bytes, from) => {
    const { length } = bytes;
    if (length > SMALL_BYTES) return bytes.indexOf(pattern, from);
    for (let end = from + last; end < length; end += skip[bytes[end] as number] as number) {
      let i = 0;
      while (i <= last && bytes[end - i] === pattern[last - i]) i += 1;
      if (i > last) return end - last;
    }
    return -1;
  };
}
