import type { IncomingMessage } from 'node:http';
import type { CreditStore, LookupAnswer, OrgTerms, TokenTerms } from '../credits/store.js';
import type { OrgId, TokenId } from '../domain/ids.js';
import { digestOf, fingerprintOf, tokenIdOf } from '../domain/secrets.js';
import { type GatewayError, unauthorized } from './errors.js';
import { patiently } from './patience.js';

/** Who asks, as of the last time anybody looked. The hold checks it again, so a stale copy can never spend. */
export interface Caller {
  readonly tokenId: TokenId;
  readonly orgId: OrgId;
  readonly digest: string;
  token: TokenTerms;
  org: OrgTerms;
}

export type Identified =
  | { readonly kind: 'caller'; readonly caller: Caller }
  | { readonly kind: 'refused'; readonly error: GatewayError }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface Authenticator {
  /** From the process's own memory when it is there, and then at once: the answer is checked by the hold. */
  identify(req: IncomingMessage): Promise<Identified> | Identified;
  /** Always asks the hot store: for answers that no hold will check. */
  identifyFresh(req: IncomingMessage): Promise<Identified>;
  forget(req: IncomingMessage): void;
}

const CALLERS_MAX = 50_000;

export function createAuthenticator(deps: { readonly store: CreditStore; readonly pepper: string }): Authenticator {
  const known = new Map<string, Caller>();
  const ask = async (secret: string, tokenId: TokenId, key: string): Promise<Identified> => {
    const answer = await patiently(await deps.store.lookup(tokenId), () => deps.store.lookup(tokenId));
    const result = recognise(answer, tokenId, digestOf(secret, deps.pepper));
    if (result.kind === 'caller') {
      if (known.size >= CALLERS_MAX) known.delete(known.keys().next().value ?? '');
      known.set(key, result.caller);
    }
    return result;
  };
  const start = (req: IncomingMessage, fresh: boolean): Promise<Identified> | Identified => {
    const secret = secretOf(req);
    if (typeof secret !== 'string') return { kind: 'refused', error: secret };
    const key = fingerprintOf(secret);
    const caller = fresh ? undefined : known.get(key);
    if (caller) return { kind: 'caller', caller };
    const tokenId = tokenIdOf(secret);
    if (!tokenId) return { kind: 'refused', error: notOurs(secret) };
    return ask(secret, tokenId, key);
  };
  return {
    identify: (req) => start(req, false),
    identifyFresh: async (req) => start(req, true),
    forget: (req) => {
      const secret = secretOf(req);
      if (typeof secret === 'string') known.delete(fingerprintOf(secret));
    },
  };
}

function recognise(answer: LookupAnswer, tokenId: TokenId, digest: string): Identified {
  if (answer.kind === 'unavailable') return { kind: 'unavailable', reason: answer.reason };
  if (answer.kind === 'unknown_token') return { kind: 'refused', error: UNKNOWN };
  const { token, org } = answer;
  const grace = token.grace && token.grace.digest === digest && Date.now() < token.grace.endsAtMs;
  if (token.digest !== digest && !grace) return { kind: 'refused', error: UNKNOWN };
  return { kind: 'caller', caller: { tokenId, orgId: org.orgId, digest, token, org } };
}

const UNKNOWN = unauthorized('This token is not known here. Check that it was copied whole.');
const MISSING = unauthorized("No token was sent. Send 'Authorization: Bearer sk-fb-…'.");

const BEARER = /^Bearer +(\S+)$/i;
const SECRET_LENGTH_MAX = 200;

/** `Authorization: Bearer` first, then `x-api-key`. */
function secretOf(req: IncomingMessage): string | GatewayError {
  const { authorization, 'x-api-key': apiKey } = req.headers;
  if (authorization !== undefined) {
    if (authorization.length > SECRET_LENGTH_MAX) return UNKNOWN;
    return BEARER.exec(authorization)?.[1] ?? unauthorized("The Authorization header must read 'Bearer sk-fb-…'.");
  }
  if (typeof apiKey === 'string' && apiKey.length > 0 && apiKey.length <= SECRET_LENGTH_MAX) return apiKey;
  return MISSING;
}

function notOurs(secret: string): GatewayError {
  if (secret.startsWith('mk-fb-') || secret.startsWith('ok-fb-')) {
    return unauthorized('This is a management key. It manages, it cannot spend: use a token (sk-fb-…) on /v1.');
  }
  return secret.startsWith('sk-fb-') ? unauthorized('This token is not whole: its check digits do not fit. Copy it again.') : UNKNOWN;
}
