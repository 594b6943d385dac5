/** `*` stands for anything; a pattern without it is a whole name. Linear in the text, whatever the pattern. */
export function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  const [first = ''] = parts;
  if (parts.length === 1) return pattern === text;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (let i = 1; i < parts.length - 1; i++) {
    const part = parts[i] ?? '';
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  const last = parts[parts.length - 1] ?? '';
  return text.length - last.length >= at && text.endsWith(last);
}

/** Whether some name goes by both: `named` is a whole name, or ends in its only `*`. */
export function overlaps(pattern: string, named: string): boolean {
  if (!named.endsWith('*')) return matches(pattern, named);
  const prefix = named.slice(0, -1);
  const [first = ''] = pattern.split('*');
  // Whatever follows the first `*` can stand behind the prefix, where anything goes.
  return pattern.includes('*') ? first.startsWith(prefix) || prefix.startsWith(first) : pattern.startsWith(prefix);
}
