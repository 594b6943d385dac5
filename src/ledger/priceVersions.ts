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
