/** One cell of a table that may be opened in a spreadsheet. `exact`: a decimal of ours, which is never a formula. */
export type Cell = string | number | boolean | null | { readonly exact: string };

/** One column of a file: its title, with units, and what of a row stands in it. */
export interface Column<Row> {
  readonly name: string;
  of(row: Row): Cell;
}

/**
 * A line of CSV as RFC 4180 has it. A text that a spreadsheet would run as a formula gets an apostrophe in front: names of
 * models, tokens and users are chosen by others.
 */
export const csvLine = (cells: readonly Cell[]): string => `${cells.map(cellOf).join(',')}\r\n`;

const FORMULA = /^[=+\-@\t\r]/;
const DECIMAL = /^-?\d+(?:\.\d+)?$/;

function cellOf(value: Cell): string {
  if (value === null) return '';
  if (typeof value === 'object' && DECIMAL.test(value.exact)) return value.exact;
  if (typeof value !== 'string' && typeof value !== 'object') return String(value);
  const text = typeof value === 'string' ? value : value.exact;
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A head, then a line for every row. */
export async function* csvOf<Row>(columns: readonly Column<Row>[], pages: AsyncIterable<readonly Row[]>): AsyncGenerator<string> {
  yield csvLine(columns.map(({ name }) => name));
  for await (const rows of pages) yield rows.map((row) => csvLine(columns.map((column) => column.of(row)))).join('');
}

/** Every row as JSON on a line of its own. */
export async function* ndjsonOf(pages: AsyncIterable<readonly object[]>): AsyncGenerator<string> {
  for await (const rows of pages) yield rows.map((row) => `${JSON.stringify(row)}\n`).join('');
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
