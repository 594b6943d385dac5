/** When a quota starts again; `total` never does. */
export const QUOTA_WINDOWS = ['total', 'daily', 'weekly', 'monthly'] as const;
export type QuotaWindow = (typeof QUOTA_WINDOWS)[number];
