import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the journals of one server say, read from outside while it runs or after it ended. */
export interface Journals {
  readonly lines: number;
  /** Requests whose credits were set aside, with no settlement behind it. */
  readonly unsettled: ReadonlySet<string>;
}

/** Short lines have the names in their JSON, long ones in front of it. */
const SHORT = /^([HS])\t\d+\t\d+\t\{"request_id":"(\w+)"/;
const LONG = /^([hs])\t(\w+)\t/;

export function readJournals(data: string): Journals {
  const unsettled = new Set<string>();
  const settled = new Set<string>();
  let lines = 0;
  for (const text of textsOf(join(data, 'journal'))) {
    for (const line of text.split('\n')) {
      const [, kind = '', id = ''] = SHORT.exec(line) ?? LONG.exec(line) ?? [];
      if (id === '') continue;
      lines += 1;
      if (kind.toLowerCase() === 's') settled.add(id);
      else unsettled.add(id);
    }
  }
  for (const id of settled) unsettled.delete(id);
  return { lines, unsettled };
}

function textsOf(root: string): string[] {
  const slots = readdirSync(root).filter((name) => /^\d+$/.test(name));
  const files = slots.flatMap((slot) => readdirSync(join(root, slot)).map((name) => join(root, slot, name)));
  return files.flatMap((file) => {
    try {
      return [readFileSync(file, 'utf8')];
    } catch {
      return []; // Everything in it was booked while we looked.
    }
  });
}
