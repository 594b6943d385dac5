import { drizzle, type PgRemoteDatabase } from 'drizzle-orm/pg-proxy';
import type { Database, Param } from './client.js';

/**
 * The same door for a library that writes through drizzle. Every statement goes out by itself through `Database`: this
 * kind of drizzle has no connection of its own and refuses to open a transaction.
 */
export function drizzleOver(db: Database): PgRemoteDatabase {
  return drizzle(async (text, params) => {
    const rows = await db.query<Record<string, unknown>>(text, params as Param[]).catch((error: unknown) => {
      // Drizzle would print them into its message, and among them are hashes and secrets.
      params.fill('not shown');
      throw error;
    });
    // Columns by position, as they were asked for; nobody joins here, so that no name comes twice.
    return { rows: rows.map((row) => Object.values(row)) };
  });
}
