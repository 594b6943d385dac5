import type { OrgTerms, TokenTerms, TokenUse } from '../store.js';

/** Terms as the scripts read them: one line of fixed fields, checked before they come here. See lua/prelude. */
export function orgTermsText(terms: OrgTerms): string {
  const { version, status, overdraft, limit, limitAction, criticalCeiling } = terms;
  return `${version}|${status}|${overdraft}|${limit ?? '-'}|${limitAction}|${criticalCeiling ?? '-'}`;
}

export function tokenTermsText(terms: TokenTerms): string {
  const { version, orgId, digest, grace, status, expiresAtMs, requestsPerMinute, tokensPerMinute, concurrency, critical } = terms;
  const facts = `${version}|${orgId}|${digest}|${grace?.digest ?? '-'}|${grace?.endsAtMs ?? 0}|${status}|${expiresAtMs}`;
  return `${facts}|${requestsPerMinute}|${tokensPerMinute}|${concurrency}|${critical ? 1 : 0}`;
}

export const quotasText = (terms: TokenTerms): string => terms.quotas.map(({ window, cap }) => `${window}:${cap};`).join('');

export const useText = (use: TokenUse): string =>
  use.used.map(({ window, amount, endsAtMs }) => `${window}:${amount}:${endsAtMs};`).join('');
