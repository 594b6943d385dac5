import type { TokenUse } from '../credits/store.js';
import { microCredits } from '../domain/credits.js';
import type { TokenId } from '../domain/ids.js';

/** A row of token_use, its moments in milliseconds. */
export interface TokenUseRow {
  readonly token_id: TokenId;
  readonly total: number;
  readonly daily: number;
  readonly daily_ends_ms: number;
  readonly weekly: number;
  readonly weekly_ends_ms: number;
  readonly monthly: number;
  readonly monthly_ends_ms: number;
}

export function tokenUse(row: TokenUseRow): TokenUse {
  return {
    tokenId: row.token_id,
    used: [
      { window: 'total', amount: microCredits(row.total), endsAtMs: 0 },
      { window: 'daily', amount: microCredits(row.daily), endsAtMs: row.daily_ends_ms },
      { window: 'weekly', amount: microCredits(row.weekly), endsAtMs: row.weekly_ends_ms },
      { window: 'monthly', amount: microCredits(row.monthly), endsAtMs: row.monthly_ends_ms },
    ],
  };
}
