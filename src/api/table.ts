/** One cell of a table that may be opened in a spreadsheet. */
export type Cell = string | number | boolean | null;

/**
 * A line of CSV as RFC 4180 has it. A text that a spreadsheet would run as a formula gets an apostrophe in front: names of
 * models, tokens and users are chosen by others.
 */
export const csvLine = (cells: readonly Cell[]): string => `${cells.map(cellOf).join(',')}\r\n`;

const FORMULA = /^[=+\-@\t\r]/;

function cellOf(value: Cell): string {
  if (value === null) return '';
  if (typeof value !== 'string') return String(value);
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Text as it is produced, one piece at a time, only as fast as it is read; ended early when the reader goes away. */
export function textStream(pieces: AsyncGenerator<string>, onCancel: () => void = () => undefined): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = await pieces.next();
        if (next.done) controller.close();
        else controller.enqueue(encoder.encode(next.value));
      },
      cancel: async () => {
        onCancel();
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 1 },
  );
}
