import type { CreditStore } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { projectOrg, projectToken } from './project.js';

/**
 * Walks through every token, over and over, and tells the hot store again what it has lost or cannot read: an evicted key,
 * one of another type, one somebody wrote nonsense into. Only that organization is touched; while it is unreadable its
 * requests are refused, never guessed at. An organization is looked at through its tokens: without one nobody can spend.
 */
export interface Scrub {
  /** Looks at the next page; answers what was told again. */
  step(): Promise<{ readonly looked: number; readonly repaired: readonly string[] }>;
}

const PAGE = 100;

export function createScrub(parts: { readonly db: Database; readonly store: CreditStore }): Scrub {
  const { db, store } = parts;
  let after = '';
  return {
    step: async () => {
      const rows = await db.query<{ id: TokenId; org: OrgId }>(
        'select token_id as id, org_id as org from tokens where token_id > $1 order by token_id limit $2',
        [after, PAGE],
        { idempotent: true },
      );
      after = rows.length < PAGE ? '' : (rows.at(-1)?.id ?? '');
      const repaired: string[] = [];
      for (const { id, org } of rows) {
        const known = await store.lookup(id);
        const lost = known.kind === 'unknown_token' || (known.kind === 'unavailable' && known.reason === 'broken');
        if (!lost) continue;
        const told = [await projectOrg(db, store, org), await projectToken(db, store, id)];
        if (told.every(({ kind }) => kind === 'projected')) repaired.push(id);
      }
      return { looked: rows.length, repaired };
    },
  };
}
