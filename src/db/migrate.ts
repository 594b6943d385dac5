import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { monotonicMs } from '../domain/clock.js';
import type { Database } from './client.js';

export interface Migration {
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

const FILE = /^\d{4}_[a-z0-9_]+\.sql$/;
const MIGRATION_MS = 10 * 60_000;
const LEASE = 'migrations';
const LEASE_WAIT_MS = 60_000;

/**
 * Brings a database to the state this code was written for. Files are run in order, each as one batch that happens
 * entirely or not at all. Edited history, and a database newer than this code, are refused. Several servers may start
 * at once: one migrates, the others wait. A database of its own is opened for this, with a single connection.
 */
export async function migrate(
  db: Database,
  options: { readonly owner: string; readonly folder?: string; readonly onFile?: (name: string) => void },
): Promise<{ readonly applied: readonly string[] }> {
  const files = migrationsIn(options.folder ?? migrationsFolder());
  await prepare(db);
  await takeTurn(db, options.owner);
  try {
    const done = await db.query<{ name: string; checksum: string }>('select name, checksum from schema_migrations order by name');
    const open = stillOpen(files, done);
    for (const file of open) {
      options.onFile?.(file.name);
      await apply(db, file);
    }
    await db.query('select ensure_usage_partitions()', [], { timeoutMs: MIGRATION_MS, idempotent: true });
    return { applied: open.map((file) => file.name) };
  } finally {
    await db.query('delete from schema_migrating where owner = $1', [options.owner], { idempotent: true });
  }
}

/** `migrations/` beside the sources, or beside `dist/` when built. */
export function migrationsFolder(): string {
  for (const up of ['../../migrations/', '../../../migrations/']) {
    const folder = fileURLToPath(new URL(up, import.meta.url));
    try {
      if (readdirSync(folder).some((name) => FILE.test(name))) return folder;
    } catch {
      // Not here; the built program lies one folder deeper.
    }
  }
  throw new Error('the folder migrations/ is missing from this installation; install Farebox again');
}

export function migrationsIn(folder: string): Migration[] {
  return readdirSync(folder)
    .filter((name) => FILE.test(name))
    .sort()
    .map((name) => {
      const text = readFileSync(`${folder}/${name}`, 'utf8');
      return { name, text, checksum: createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('hex') };
    });
}

/** What has not run yet; throws a sentence when the past does not match. */
export function stillOpen(files: readonly Migration[], done: readonly { name: string; checksum: string }[]): readonly Migration[] {
  const known = new Map(files.map((file) => [file.name, file]));
  for (const { name, checksum } of done) {
    const file = known.get(name);
    if (!file)
      throw new Error(
        `The database is newer than this program: it has ${name}, which this version does not know. Start the newer version.`,
      );
    if (file.checksum !== checksum)
      throw new Error(`${name} was changed after it had run. Put the file back as it was, and make the change in a new migration.`);
  }
  const open = files.slice(done.length);
  if (open.some((file) => done.some((one) => one.name === file.name)))
    throw new Error('Migrations have run out of order; this database needs a person to look at it.');
  return open;
}

/** These two tables are made before any migration, by whoever comes first; losing that race is fine. */
async function prepare(db: Database): Promise<void> {
  const text = `create table if not exists schema_migrations (
      name text primary key, checksum text not null, applied_at timestamptz not null default now());
    create table if not exists schema_migrating (only_one boolean primary key default true check (only_one), owner text not null,
      until timestamptz not null)`;
  await db.script(text).catch(() => db.script(text));
}

/** A row, not a session lock: PGlite has one session for everybody. A crashed owner's turn ends by itself. */
async function takeTurn(db: Database, owner: string): Promise<void> {
  const deadline = monotonicMs() + LEASE_WAIT_MS + MIGRATION_MS;
  for (;;) {
    const mine = await db.one(
      `insert into schema_migrating as m (owner, until) values ($1, now() + make_interval(secs => $2))
       on conflict (only_one) do update set owner = excluded.owner, until = excluded.until
       where m.until < now() or m.owner = excluded.owner returning owner`,
      [owner, LEASE_WAIT_MS / 1000],
    );
    if (mine) return;
    if (monotonicMs() > deadline)
      throw new Error(`Another server has been running ${LEASE} for too long; look at the table schema_migrating.`);
    await new Promise((go) => setTimeout(go, 200));
  }
}

async function apply(db: Database, file: Migration): Promise<void> {
  const note = `insert into schema_migrations (name, checksum) values ('${file.name}', '${file.checksum}');
    update schema_migrating set until = now() + interval '60 seconds';`;
  try {
    await db.script(`begin;\nset local statement_timeout = 0;\n${file.text}\n;${note}\ncommit;`, { timeoutMs: MIGRATION_MS });
  } catch (cause) {
    await db.script('rollback').catch(() => undefined);
    throw new Error(`${file.name} failed and was undone: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
