import type { OrgTerms, TokenTerms, TokenUse } from '../store.js';

/** Terms as the scripts read them: one line of fixed fields, checked before they come here. See lua/prelude. */
export function orgTermsText(terms: OrgTerms): string {
  const { version, status, overdraft, limit, limitAction, criticalCeiling } = terms;
  return `${version}|${status}|${overdraft}|${limit ?? '-'}|${limitAction}|${criticalCeiling ?? '-'}`;
}

export function tokenTermsText(terms: TokenTerms): string {
  const { version, grace, status, expiresAtMs, requestsPerMinute, tokensPerMinute, concurrency } = terms;
  const facts = `${version}|${status}|${expiresAtMs}|${requestsPerMinute}|${tokensPerMinute}|${concurrency}`;
  return `${facts}|${grace?.endsAtMs ?? 0}|${grace?.digest ?? '-'}`;
}

export const capsText = (terms: TokenTerms): string =>
  `${terms.critical ? 1 : 0};${terms.quotas.map(({ window, cap }) => `${window}:${cap};`).join('')}${memberText(terms.member)}`;

const memberText = (member: TokenTerms['member']): string => (member ? `member:${member.cap}:${member.tokens.join()};` : '');

export const useText = (use: TokenUse): string =>
  use.used.map(({ window, amount, endsAtMs }) => `${window}:${amount}:${endsAtMs};`).join('');
