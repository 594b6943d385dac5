import type { Database } from '../db/client.js';

/** How the books are, as far as one quick statement can say. */
export interface BooksHealth {
  readonly ms: number;
  readonly version: string;
  readonly migrations: { readonly applied: number; readonly last: string | null };
  /** Written here, but not in force in the hot store yet. */
  readonly untold: { readonly organizations: number; readonly balances: number; readonly tokens: number; readonly members: number };
  /** Charges that no transaction could take, and that nobody has dealt with. */
  readonly set_aside: number;
}

/** Null: Postgres does not answer in time. */
export async function readBooksHealth(db: Database): Promise<BooksHealth | null> {
  const started = performance.now();
  try {
    const row = await db.one<{ health: Omit<BooksHealth, 'ms'> }>(HEALTH, [], { idempotent: true, timeoutMs: 3_000 });
    return row ? { ...row.health, ms: Math.round((performance.now() - started) * 10) / 10 } : null;
  } catch {
    return null;
  }
}

const HEALTH = `
  select json_build_object('version', current_setting('server_version'),
    'migrations', (select json_build_object('applied', count(*), 'last', max(name)) from schema_migrations),
    'untold', json_build_object(
      'organizations', (select count(*) from organizations where projected_version < terms_version),
      'balances', (select count(*) from org_balances where untold_version is not null),
      'tokens', (select count(*) from tokens where projected_version < terms_version),
      'members', (select count(*) from (select org_id from quota_shares where shared_version < version
        union select org_id from member_terms where told_version < version) m)),
    'set_aside', (select count(*) from poison_rows where resolved_at is null)) as health`;
