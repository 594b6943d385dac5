import type { CreditStore } from '../credits/store.js';
import type { Database } from '../db/client.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { projectOrg, projectToken } from './project.js';

/**
 * Walks through every organization and token, over and over, and tells the hot store again what it has lost or cannot
 * read: an evicted key, one of another type, one somebody wrote nonsense into. Only that organization is touched; while
 * it is unreadable its requests are refused, never guessed at.
 */
export interface Scrub {
  /** Looks at the next page; answers how many were repaired. */
  step(): Promise<{ readonly looked: number; readonly repaired: readonly string[] }>;
}

const PAGE = 100;
const READ = { idempotent: true };

export function createScrub(parts: { readonly db: Database; readonly store: CreditStore }): Scrub {
  const { db, store } = parts;
  let afterOrg = '';
  let afterToken = '';

  const orgs = async (): Promise<{ looked: number; repaired: string[] }> => {
    const rows = await db.query<{ id: OrgId }>(
      'select org_id as id from organizations where org_id > $1 order by org_id limit $2',
      [afterOrg, PAGE],
      READ,
    );
    afterOrg = rows.length < PAGE ? '' : (rows.at(-1)?.id ?? '');
    const repaired: string[] = [];
    for (const { id } of rows) {
      const state = await store.inspect(id);
      const lost = state === undefined || ('kind' in state && state.reason === 'broken');
      if (lost && (await projectOrg(db, store, id)).kind === 'projected') repaired.push(id);
    }
    return { looked: rows.length, repaired };
  };

  const tokens = async (): Promise<{ looked: number; repaired: string[] }> => {
    const rows = await db.query<{ id: TokenId }>(
      'select token_id as id from tokens where token_id > $1 order by token_id limit $2',
      [afterToken, PAGE],
      READ,
    );
    afterToken = rows.length < PAGE ? '' : (rows.at(-1)?.id ?? '');
    const repaired: string[] = [];
    for (const { id } of rows) {
      const known = await store.lookup(id);
      const lost = known.kind === 'unknown_token' || (known.kind === 'unavailable' && known.reason === 'broken');
      if (lost && (await projectToken(db, store, id)).kind === 'projected') repaired.push(id);
    }
    return { looked: rows.length, repaired };
  };

  return {
    step: async () => {
      const [some, others] = [await orgs(), await tokens()];
      return { looked: some.looked + others.looked, repaired: [...some.repaired, ...others.repaired] };
    },
  };
}
