import type { Printer } from './verb.js';

interface Streams {
  readonly out: { write(text: string): unknown };
  readonly err: { write(text: string): unknown };
}

export function createPrinter({ out, err }: Streams = { out: process.stdout, err: process.stderr }): Printer {
  const line = (text = ''): void => void out.write(`${plain(text)}\n`);
  return {
    line,
    error: (text) => void err.write(`${plain(text)}\n`),
    json: (value) => void out.write(`${JSON.stringify(value, null, 2)}\n`),
    table: (head, rows) => {
      for (const text of aligned([head, ...rows])) line(text);
    },
  };
}

/** Columns as wide as their widest cell; figures to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const isFigure = widths.map((_, column) => rows.length > 1 && rows.slice(1).every((row) => /^-?[\d.]+$/.test(row[column] ?? '')));
  return rows.map((row) =>
    row
      .map((cell, column) => (isFigure[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** Names come from other people: nothing but line breaks and tabs may steer a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what must not be printed
const plain = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '?');
