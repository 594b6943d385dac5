/**
 * The data of each event in a recorded stream: CR, LF and CRLF, comments, several data lines, a missing last newline.
 * The whole recording is read at once, so where the network cut it cannot matter.
 */
export function eventsOf(stream: string): string[] {
  const events: string[] = [];
  let data: string[] = [];
  const end = (): void => {
    if (data.length > 0) events.push(data.join('\n'));
    data = [];
  };
  for (const line of stream.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)) {
    if (line === '') end();
    else if (line === 'data') data.push('');
    else if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
  }
  end();
  return events.filter((event) => event !== '[DONE]');
}
