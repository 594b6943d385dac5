/** What a token may do at a moment, in the words that every list, page and live event uses. */
export const TOKEN_STATES = ['active', 'paused', 'revoked', 'expired', 'quota_used'] as const;
export type TokenState = (typeof TOKEN_STATES)[number];

/** So long before its end a token is said to expire soon. */
export const EXPIRES_SOON_DAYS = 7;
