import type { Database } from '../db/client.js';

/** Keeps the text behind a price version for ever, so that any charge can be explained by the prices of its day. */
export async function storePriceVersion(db: Database, book: { readonly version: string; readonly canonical: string }): Promise<void> {
  await db.query(
    'insert into price_versions (hash, canonical) values ($1, $2) on conflict (hash) do nothing',
    [book.version, book.canonical],
    {
      idempotent: true,
    },
  );
}

export interface PriceVersion {
  readonly version: string;
  /** When it first came into force. */
  readonly since: Date;
}

/** Newest first. */
export async function listPriceVersions(
  db: Database,
  page: { readonly after: { readonly since: string; readonly version: string } | null; readonly limit: number },
): Promise<{ readonly rows: readonly (PriceVersion & { readonly place: string })[]; readonly hasMore: boolean }> {
  const rows = await db.query<PriceVersion & { place: string }>(
    `select hash as version, activated_at as since, activated_at::text as place from price_versions
     where $1::text is null or (activated_at, hash) < ($2::text::timestamptz, $1::text)
     order by activated_at desc, hash desc limit $3::int`,
    [page.after?.version ?? null, page.after?.since ?? null, page.limit + 1],
    { idempotent: true },
  );
  return { rows: rows.slice(0, page.limit), hasMore: rows.length > page.limit };
}

export function readPriceVersion(db: Database, version: string): Promise<(PriceVersion & { readonly canonical: string }) | undefined> {
  return db.one<PriceVersion & { canonical: string }>(
    'select hash as version, activated_at as since, canonical from price_versions where hash = $1',
    [version],
    { idempotent: true },
  );
}
