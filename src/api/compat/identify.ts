import { mayComeFrom } from '../../domain/addresses.js';
import { digestOf, sameSecret, tokenIdOf } from '../../domain/secrets.js';
import { readTokenFacts, type TokenFacts } from '../../usage/tokenFacts.js';
import type { ApiDeps } from '../deps.js';

/** An error in the shape OpenAI clients read. */
export interface CompatError {
  readonly kind: 'error';
  readonly status: number;
  readonly code: string;
  readonly type: string;
  readonly message: string;
  readonly param?: string;
}

export const refusal = (status: number, code: string, message: string, param?: string): CompatError => ({
  kind: 'error',
  status,
  code,
  type: status === 401 ? 'authentication_error' : status === 403 ? 'permission_error' : 'invalid_request_error',
  message,
  ...(param === undefined ? {} : { param }),
});

/** The token that asks. One that has nothing left to spend may still ask how much that is. */
export async function identify(deps: ApiDeps, headers: Headers, address: string | undefined): Promise<TokenFacts | CompatError> {
  const secret = secretOf(headers);
  if (secret === undefined) return refusal(401, 'invalid_api_key', "No token was sent. Send 'Authorization: Bearer sk-fb-…'.");
  const tokenId = tokenIdOf(secret);
  const facts = tokenId ? await readTokenFacts(deps.db, tokenId, deps.clock.nowMs()) : undefined;
  const digest = digestOf(secret, deps.pepper);
  const known = facts && (sameSecret(facts.digest, digest) || (facts.is_grace && sameSecret(facts.grace_digest ?? '', digest)));
  if (!facts || !known) return refusal(401, 'invalid_api_key', 'This token is not known here. Check that it was copied whole.');
  if (facts.status === 'revoked') return refusal(401, 'token_revoked', 'This token was revoked. Use another one.');
  if (facts.is_expired) return refusal(401, 'token_expired', 'This token has expired. Use another one.');
  if (facts.status === 'paused') return refusal(403, 'token_paused', 'This token is paused. Resume it, or use another one.');
  if (!mayComeFrom(facts.ips, address)) return refusal(403, 'ip_not_allowed', 'This token may not be used from this address.');
  return facts;
}

export function secretOf(headers: Headers): string | undefined {
  const authorization = headers.get('authorization');
  if (authorization !== null) return authorization.length > 200 ? undefined : /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  const key = headers.get('x-api-key');
  return key !== null && key.length > 0 && key.length <= 200 ? key : undefined;
}
