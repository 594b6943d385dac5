/** The text of a recorded stream up to its last whole event: one that a blank line ends. */
export function wholeEvents(stream: string): string {
  const plain = stream.replace(/^\uFEFF/, '').replace(/\r\n|\r/g, '\n');
  const end = plain.lastIndexOf('\n\n');
  return end < 0 ? '' : plain.slice(0, end + 2);
}

/** The data of each event, `[DONE]` included. */
export function dataOf(stream: string): string[] {
  const plain = stream.replace(/^\uFEFF/, '').replace(/\r\n|\r/g, '\n');
  return plain.split('\n\n').flatMap((block) => {
    const lines = block.split('\n').filter((line) => line.startsWith('data:'));
    return lines.length === 0 ? [] : [lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n')];
  });
}
