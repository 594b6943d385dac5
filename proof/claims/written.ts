import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../test/support/redis.js';
import type { Product } from '../product.js';
import type { Installation } from './installation.js';

/** Everything an installation has written down somewhere, by where. */
export type Written = ReadonlyMap<string, string>;

/** What a server keeps for itself, and may. */
const KEPT = /(?:^|\/)(?:config\.yaml|secret\.key|operator\.(?:key|setup))$/;

export async function everythingWritten({ redis, postgres }: Installation, product: Product): Promise<Map<string, string>> {
  const dir = (await command(redis.port, 'CONFIG', 'GET', 'dir')).split('\r\n')[4] ?? '';
  const metrics = await fetch(`${product.url}/metrics`).then((answer) => answer.text());
  const ready = await fetch(`${product.url}/readyz`).then((answer) => answer.text());
  return new Map([
    ['the log', product.output()],
    ['the metrics', metrics],
    ['the health page', ready],
    ['the command lines', pidsOf(product).map(commandLine).join('\n')],
    ['the append-only file of Redis', filesIn(dir).map(read).join('\n')],
    ['the database', await rowsOf(postgres)],
    [
      'the data folder',
      filesIn(product.data)
        .filter((path) => !KEPT.test(path))
        .map(read)
        .join('\n'),
    ],
  ]);
}

/** The journal as it is now: a part of the data folder that is gone once everything is booked. */
export const journalOf = ({ data }: Product): string => filesIn(join(data, 'journal')).map(read).join('\n');

/** What others on the machine may open, of all that is in there. */
export function openToOthers({ data }: Product): string[] {
  const found = [
    data,
    join(data, 'journal'),
    ...filesIn(join(data, 'journal')),
    ...filesIn(data).filter((path) => /\.(?:key|setup)$/.test(path)),
  ];
  return found
    .filter((path) => (statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077)
    .map((path) => path.slice(data.length) || 'the data folder');
}

async function rowsOf(postgres: Installation['postgres']): Promise<string> {
  const tables = await postgres.query<{ name: string }>(
    `select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables
     where table_schema not in ('pg_catalog', 'information_schema')`,
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    const rows = await postgres.query<{ row: string }>(`select t::text as row from ${name} t`);
    texts.push(`${name}\n${rows.map(({ row }) => row).join('\n')}`);
  }
  return texts.join('\n');
}

const pidsOf = (product: Product): number[] => [product.pid, ...product.parts().gateways, ...product.parts().office];

const commandLine = (pid: number): string => read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((one) => {
    const path = join(folder, one.name);
    if (one.isDirectory()) return filesIn(path);
    return one.isFile() ? [path] : [];
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // Everything in it was booked while we looked.
  }
}
