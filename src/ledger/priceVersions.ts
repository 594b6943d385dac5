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

/** The version that was put in force last, with its text. */
export async function latestPriceVersion(db: Database): Promise<{ readonly hash: string; readonly canonical: string } | undefined> {
  return db.one('select hash, canonical from price_versions order by activated_at desc limit 1', [], { idempotent: true });
}
