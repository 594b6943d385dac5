import type { QuotaWindow } from './quota.js';

/** What an organization lets the quotas of tokens be, and what went beyond it; `none`: a token without any quota. */
export interface AboveCeiling {
  readonly kind: 'above_ceiling';
  readonly ceiling: number;
  readonly quotas: readonly (QuotaWindow | 'none')[];
}

/** The quotas of the row, in the order in which the function of the migration takes them. */
export const quotaArray = (row: string): string =>
  `array[${row}.quota_total, ${row}.quota_daily, ${row}.quota_weekly, ${row}.quota_monthly]`;
