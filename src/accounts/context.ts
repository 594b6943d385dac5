import type { Database } from '../db/client.js';
import type { Clock } from '../domain/clock.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import type { Actor } from './actor.js';

/** What every verb is given: where to write, who asks, what time it is, and how the hot store learns of it. */
export interface AccountsContext {
  readonly db: Database;
  readonly actor: Actor;
  readonly clock: Clock;
  /** Key of every digest and seal. */
  readonly pepper: string;
  readonly project: Projections;
}

/**
 * Tells the hot store the new terms of one organization or token. `unavailable`: they are written and will get there,
 * but are not in force yet.
 */
export interface Projections {
  org(orgId: OrgId): Promise<Projected>;
  token(tokenId: TokenId): Promise<Projected>;
  /** The quotas of the organization's members, and whose its tokens are. */
  members(orgId: OrgId): Promise<Projected>;
}

export type Projected = 'projected' | 'unavailable';

/** Every list is read page by page, by the key of the last row. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly hasMore: boolean;
}

export function pageOf<Row>(rows: readonly Row[], limit: number): Page<Row> {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
