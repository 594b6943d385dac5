import { expect, test } from 'vitest';
import { csvLine, textStream } from '../../src/api/table.js';

test('a text that a spreadsheet would run is only a text', () => {
  for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx']) expect(csvLine([text])).toMatch(/^"?'/);
  expect(csvLine(['=HYPERLINK("http://x","y")'])).toBe(`"'=HYPERLINK(""http://x"",""y"")"\r\n`);
  expect(csvLine(['a=b', 'x-1', 'me@example.org', -5, true, null])).toBe('a=b,x-1,me@example.org,-5,true,\r\n');
});

test('commas, quotes and line ends stay inside their cell', () => {
  expect(csvLine(['a,b', 'say "hi"', 'two\nlines', 'plain'])).toBe('"a,b","say ""hi""","two\nlines",plain\r\n');
});

test('a stream makes only what is read, and ends its source when the reader leaves', async () => {
  let made = 0;
  let ended = false;
  async function* pieces(): AsyncGenerator<string> {
    try {
      for (;;) yield `${made++}\n`;
    } finally {
      ended = true;
    }
  }
  const reader = textStream(pieces()).getReader();
  await reader.read();
  await reader.read();
  expect(made).toBeLessThan(6);
  await reader.cancel();
  expect(ended).toBe(true);
});
