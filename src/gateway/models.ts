import type { IncomingMessage, ServerResponse } from 'node:http';
import { mayComeFrom } from '../domain/addresses.js';
import { newRequestId } from '../domain/ids.js';
import { FREE_PER_MINUTE } from '../domain/pace.js';
import { matches } from '../domain/patterns.js';
import { SEALED } from '../domain/sealed.js';
import { fingerprintOf } from '../domain/secrets.js';
import { contextLength } from '../pricing/context.js';
import { priceOf } from './admit.js';
import type { Caller } from './authenticate.js';
import { forbidden, type GatewayError, modelNotFound, refusalError, sendError, tooOften, unavailable } from './errors.js';
import type { GatewayParts } from './exchange.js';
import { type ModelPricing, modelPricing } from './modelPrices.js';
import { addressOf } from './peer.js';

interface Model {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  /** Tokens in and out together; null = not known here. */
  readonly context_length: number | null;
  readonly max_completion_tokens: number | null;
  readonly pricing: ModelPricing;
  readonly pricing_unit: string;
}

/** `GET /v1/models` and `/v1/models/{id}`: what this token may use here, served and priced. Free of charge. */
export async function models(parts: GatewayParts, req: IncomingMessage, res: ServerResponse, id: string | null): Promise<void> {
  const requestId = newRequestId();
  const address = addressOf(req, parts.trustedProxies) ?? '';
  const said = req.headers.authorization?.replace(/^Bearer +/i, '').trim();
  // By what was sent, before anybody looks whose it is: a loop costs the hot store nothing.
  const pace = said
    ? parts.pace.take(`key:${fingerprintOf(said)}`, FREE_PER_MINUTE.credential)
    : parts.pace.take(`address:${address}`, FREE_PER_MINUTE.address);
  if (!pace.ok) return sendError(res, tooOften(pace), requestId);
  const identified = await parts.authenticator.identifyFresh(req);
  if (identified.kind === 'unavailable')
    return sendError(res, unavailable('Tokens cannot be checked right now. Try again in a moment.'), requestId);
  if (identified.kind === 'refused') {
    // Somebody who guesses sends another credential every time.
    const guess = parts.pace.take(`refused:${address}`, FREE_PER_MINUTE.address);
    return sendError(res, guess.ok ? identified.error : tooOften(guess), requestId);
  }
  const { caller } = identified;
  const blocked = blockedBy(parts, caller, req);
  if (blocked) return sendError(res, blocked, requestId);
  if (id === null) return send(res, { object: 'list', data: usable(parts, caller) }, requestId);
  const model = id.length <= 256 ? usableModel(parts, caller, id) : undefined;
  return model ? send(res, model, requestId) : sendError(res, modelNotFound(id.slice(0, 256)), requestId);
}

/** No hold will check these terms, so they are checked here, fresh from the hot store. */
function blockedBy(parts: GatewayParts, caller: Caller, req: IncomingMessage): GatewayError | null {
  const { token, org } = caller;
  const expired = token.expiresAtMs > 0 && parts.clock.nowMs() >= token.expiresAtMs;
  const kind =
    token.status === 'revoked'
      ? 'token_revoked'
      : expired
        ? 'token_expired'
        : token.status === 'paused'
          ? 'token_paused'
          : org.status === 'suspended'
            ? 'org_suspended'
            : null;
  if (kind) return refusalError({ kind }, { creditValue: null, insufficientQuotaStatus: 402, resolveUrl: '' });
  if (!mayComeFrom(token.ips, addressOf(req, parts.trustedProxies)))
    return forbidden('This token may not be used from your address.', 'ip_not_allowed');
  return null;
}

function usable(parts: GatewayParts, caller: Caller): Model[] {
  const named = parts.upstreams().all.flatMap(({ settings }) => settings.models.map(({ pattern }) => pattern));
  const priced = parts
    .prices()
    .models()
    .map(({ name }) => name);
  const names = new Set([...named, ...priced].filter((name) => !name.includes('*')));
  return [...names].sort().flatMap((name) => usableModel(parts, caller, name) ?? []);
}

/** What this token may use: allowed, served and priced, at the price it would be charged. */
function usableModel(parts: GatewayParts, caller: Caller, id: string): Model | undefined {
  const allowed = caller.token.models;
  if (allowed && !allowed.some((pattern) => matches(pattern, id))) return undefined;
  for (const { servedModel, upstream } of parts.upstreams().pick(id)) {
    const priced = priceOf(caller, parts.prices(), id, servedModel);
    if (!priced) continue;
    return {
      ...{ id, object: 'model', created: 0, owned_by: upstream.settings.name },
      context_length: contextLength(id) ?? contextLength(servedModel),
      max_completion_tokens: priced.entry.maxOutput,
      pricing: modelPricing(priced, parts.credits.value),
      pricing_unit: parts.credits.value?.currency ?? 'credits',
    };
  }
  return undefined;
}

function send(res: ServerResponse, body: object, requestId: string): void {
  const text = JSON.stringify(body);
  res.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'x-request-id': requestId,
    'cache-control': 'no-store',
    ...SEALED,
  });
  res.end(text);
}
