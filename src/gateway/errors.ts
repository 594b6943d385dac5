import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { amountOut, type CreditValue, formatCredits } from '../domain/credits.js';
import type { Allowance } from '../domain/pace.js';
import type { Refusal } from '../domain/refusal.js';
import { SEALED } from '../domain/sealed.js';

/** An answer that is an error, in the shape OpenAI clients read. Nothing else may turn a failure into HTTP on `/v1`. */
export interface GatewayError {
  readonly status: number;
  readonly code: string;
  readonly type: string;
  readonly message: string;
  readonly param?: string | null;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

const NO_RETRY = { 'x-should-retry': 'false' };

export const badRequest = (message: string, code: string, param: string | null = null): GatewayError => ({
  status: 400,
  type: 'invalid_request_error',
  code,
  message,
  param,
});

export const unauthorized = (message: string, code = 'invalid_api_key'): GatewayError => ({
  status: 401,
  type: 'authentication_error',
  code,
  message,
});

export const forbidden = (message: string, code: string, param: string | null = null): GatewayError => ({
  status: 403,
  type: 'permission_error',
  code,
  message,
  param,
});

export const unknownPath = (method: string, path: string): GatewayError => ({
  status: 404,
  type: 'invalid_request_error',
  code: 'unknown_url',
  message: `There is no ${method} ${path.slice(0, 200)} here. Only priced endpoints are served.`,
});

export const wrongMethod = (method: string, allowed: string): GatewayError => ({
  status: 405,
  type: 'invalid_request_error',
  code: 'method_not_allowed',
  message: `${method.slice(0, 20)} is not allowed here. Use ${allowed}.`,
  headers: { allow: allowed },
});

export const modelNotFound = (model: string): GatewayError => ({
  status: 404,
  type: 'invalid_request_error',
  code: 'model_not_found',
  message: `The model '${model}' does not exist here. GET /v1/models lists what this token may use.`,
  param: 'model',
});

export const modelNotPriced = (model: string): GatewayError => ({
  status: 400,
  type: 'invalid_request_error',
  code: 'model_not_priced',
  message: `The model '${model}' has no price here, so it is refused rather than served for nothing. Ask the operator to price it.`,
  param: 'model',
});

export const duplicateRequest = (requestId: string): GatewayError => ({
  status: 409,
  type: 'idempotency_error',
  code: 'idempotency_key_reused',
  message: `This Idempotency-Key was used by ${requestId} in the last 24 hours. That request was charged once; nothing was done now.`,
  metadata: { original_request_id: requestId },
  headers: NO_RETRY,
});

export const tooLarge = (limit: number): GatewayError => ({
  status: 413,
  type: 'invalid_request_error',
  code: 'request_too_large',
  message: `The body is larger than ${limit} bytes.`,
  headers: { connection: 'close' },
});

export const unavailable = (message: string, code = 'billing_unavailable', retryAfterS = 1): GatewayError => ({
  status: 503,
  type: 'api_error',
  code,
  message,
  headers: { 'retry-after': String(retryAfterS), 'x-should-retry': 'true' },
});

export const upstreamError = (status: 502 | 504, code: string, message: string): GatewayError => ({
  status,
  type: 'upstream_error',
  code,
  message,
});

export const internalError = (): GatewayError => ({
  status: 500,
  type: 'api_error',
  code: 'internal_error',
  message: 'Something went wrong on our side. Nothing was charged beyond what was delivered. Quote the request id when you report it.',
});

export interface RefusalContext {
  readonly creditValue: CreditValue | null;
  readonly insufficientQuotaStatus: 402 | 429;
  /** The page that explains and resolves it; `reason` is appended. */
  readonly resolveUrl: string;
}

/** What a refusal of the hot store means to the client. */
export function refusalError(refusal: Refusal, context: RefusalContext): GatewayError {
  switch (refusal.kind) {
    case 'unknown_token':
      return unauthorized('This token is not known here. Check that it was copied whole.');
    case 'token_revoked':
      return unauthorized('This token was revoked. Use another one.', 'token_revoked');
    case 'token_expired':
      return unauthorized('This token has expired. Create a new one.', 'token_expired');
    case 'token_paused':
      return forbidden('This token is paused. Resume it to use it again.', 'token_paused');
    case 'org_suspended':
      return forbidden('This organization is suspended. Contact the operator.', 'organization_suspended');
    case 'rate_limited':
      return rateLimited(refusal);
    case 'short':
      return shortError(refusal, context);
  }
}

/** For what costs nothing, and so is not counted by the hot store. */
export function tooOften({ limit, remaining, fullInMs, waitMs }: Allowance): GatewayError {
  const waitS = Math.max(1, Math.ceil(waitMs / 1000));
  return {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    message: `This can be asked ${limit} times a minute. Try again in ${waitS} s.`,
    metadata: { limit_source: 'requests', limit },
    headers: {
      'retry-after': String(waitS),
      'x-ratelimit-limit-requests': String(limit),
      'x-ratelimit-remaining-requests': String(remaining),
      'x-ratelimit-reset-requests': durationOf(Math.max(1, Math.ceil(fullInMs))),
    },
  };
}

const RATE_WORDS = { requests: 'requests per minute', tokens: 'tokens per minute', concurrency: 'requests at once' } as const;

function rateLimited(refusal: Extract<Refusal, { kind: 'rate_limited' }>): GatewayError {
  const waitMs = Math.max(1, Math.ceil(refusal.retryAfterMs));
  return {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    message: `This token is limited to ${refusal.limit} ${RATE_WORDS[refusal.scope]}. Try again in ${Math.ceil(waitMs / 1000)} s.`,
    metadata: { limit_source: refusal.scope, limit: refusal.limit },
    headers: { 'retry-after': String(Math.ceil(waitMs / 1000)), 'retry-after-ms': String(waitMs), ...rateHeaders(refusal) },
  };
}

/** As OpenAI names them, for what is counted by the minute. What is left of a minute's tokens is not told by the hot store. */
function rateHeaders({ scope, limit, retryAfterMs }: Extract<Refusal, { kind: 'rate_limited' }>): Record<string, string> {
  if (scope === 'concurrency') return {};
  return {
    [`x-ratelimit-limit-${scope}`]: String(limit),
    ...(scope === 'requests' ? { 'x-ratelimit-remaining-requests': '0' } : {}),
    [`x-ratelimit-reset-${scope}`]: durationOf(Math.max(1, Math.ceil(retryAfterMs))),
  };
}

/** 850 is "850ms", 61_500 is "1m1.5s". */
export function durationOf(ms: number): string {
  if (ms < 1_000) return `${ms}ms`;
  const minutes = Math.floor(ms / 60_000);
  return `${minutes > 0 ? `${minutes}m` : ''}${(ms % 60_000) / 1_000}s`;
}

type Short = Extract<Refusal, { kind: 'short' }>;

const SHORT_WORDS = {
  balance: { code: 'insufficient_quota', reason: 'balance_empty', what: 'The organization', fix: 'Add credits to go on.' },
  quota: { code: 'token_quota_exceeded', reason: 'token_quota', what: "This token's quota", fix: 'Raise its quota or use another token.' },
  member: {
    code: 'member_quota_exceeded',
    reason: 'member_quota',
    what: "The monthly quota of this token's owner, shared by all of their tokens,",
    fix: 'Ask for a higher quota or wait for the new month.',
  },
  limit: {
    code: 'monthly_limit_reached',
    reason: 'limit_reached',
    what: "The organization's monthly limit",
    fix: 'Raise the limit or wait for the new month.',
  },
  non_critical: {
    code: 'paused_non_critical',
    reason: 'limit_reached',
    what: "The organization's monthly limit",
    fix: 'Only critical tokens go on until it is raised.',
  },
} as const;

function shortError(refusal: Short, context: RefusalContext): GatewayError {
  const words = SHORT_WORDS[refusal.scope];
  const free = refusal.available + refusal.inFlight;
  const metadata = {
    limit_source: refusal.scope,
    ...(refusal.window ? { window: refusal.window } : {}),
    required: amountOut(refusal.required, context.creditValue),
    available: amountOut(refusal.available, context.creditValue),
    in_flight: amountOut(refusal.inFlight, context.creditValue),
    resets_at: refusal.resetsAtMs > 0 ? new Date(refusal.resetsAtMs).toISOString() : null,
    resolve_url: `${context.resolveUrl}&reason=${words.reason}`,
  };
  const left = { 'x-credits-remaining': formatCredits(Math.max(0, refusal.available)) };
  const numbers = `needs ${formatCredits(refusal.required)} credits to be set aside, ${formatCredits(Math.max(0, refusal.available))} can be`;
  if (refusal.inFlight > 0 && free >= refusal.required && refusal.scope !== 'non_critical') {
    return {
      status: 429,
      type: 'insufficient_quota',
      code: 'credits_in_flight',
      message: `This request ${numbers}; ${formatCredits(refusal.inFlight)} are held by running requests. Try again when they have finished.`,
      metadata: { ...metadata, resolve_url: `${context.resolveUrl}&reason=in_flight` },
      headers: { ...left, 'retry-after': '1', 'retry-after-ms': '500' },
    };
  }
  const tooBig = refusal.scope === 'balance' && free > 0;
  return {
    status: context.insufficientQuotaStatus,
    type: 'insufficient_quota',
    code: tooBig ? 'request_exceeds_balance' : words.code,
    message: tooBig
      ? `This request ${numbers}. Lower max_tokens or add credits.`
      : `${refusal.window ? `This token's ${refusal.window} quota` : words.what} has too few credits left: this request ${numbers}. ${words.fix}`,
    metadata,
    headers: { ...left, ...NO_RETRY },
  };
}

export function errorBody(error: GatewayError, requestId: string): string {
  return JSON.stringify({
    error: {
      message: error.message,
      type: error.type,
      param: error.param ?? null,
      code: error.code,
      metadata: { ...error.metadata, request_id: requestId },
    },
  });
}

/** The frame that ends a failed stream. No `[DONE]` follows it. */
export const errorFrame = (error: GatewayError, requestId: string): string => `data: ${errorBody(error, requestId)}\n\n`;

export function sendError(res: ServerResponse, error: GatewayError, requestId: string, extra?: OutgoingHttpHeaders): void {
  if (res.headersSent || res.destroyed) return;
  const body = errorBody(error, requestId);
  res.writeHead(error.status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'x-request-id': requestId,
    'cache-control': 'no-store',
    ...SEALED,
    ...(leavesBodyUnread(res.req) ? { connection: 'close' } : {}),
    ...extra,
    ...error.headers,
  });
  res.end(body);
}

const DISCARDED_BYTES_MAX = 64 * 1024;

/** Node would read a refused body to its end to keep the connection. A large one is not worth that; its connection closes. */
function leavesBodyUnread(req: IncomingMessage): boolean {
  if (req.complete) return false;
  const { 'content-length': length, 'transfer-encoding': encoding } = req.headers;
  return encoding !== undefined || Number(length ?? 0) > DISCARDED_BYTES_MAX;
}

/** An answer that closes its connection can be lost to its client when the body comes after it: a small one is waited for. */
export function afterSmallBody(req: IncomingMessage, act: () => void): void {
  if (req.complete || leavesBodyUnread(req)) {
    act();
    return;
  }
  req.once('close', act);
  req.once('end', () => {
    req.off('close', act);
    act();
  });
  req.resume();
}
