import type { IncomingHttpHeaders } from 'node:http';
import type { UpstreamSettings } from '../domain/settings.js';
import type { Failure } from '../upstreams/forward.js';
import { type GatewayError, upstreamError } from './errors.js';

/** An upstream's answer that is no 2xx, with as much of its body as we care to read. */
export interface Rejection {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Whether another attempt may succeed: the same request elsewhere, or here once more. */
export function isRetryable(status: number): boolean {
  return status >= 500 || status < 400 || status === 429 || status === 408 || isAboutUs(status);
}

/** The provider's quarrel is with the operator: a wrong key, no rights, an unpaid bill. */
const isAboutUs = (status: number): boolean => status === 401 || status === 402 || status === 403;

/** Worth asking the same upstream again: it was its momentary state, not its opinion. */
export const isTransient = (status: number): boolean => status >= 500 || status === 408;

/** What the client is told. Never the provider's words about its own key, never a redirect, never an HTML page. */
export function rejectionError(rejection: Rejection, upstream: UpstreamSettings): GatewayError {
  const { status } = rejection;
  if (isAboutUs(status)) {
    return upstreamError(
      502,
      'upstream_refused',
      'The upstream did not accept this gateway. The operator has to check its key and account.',
    );
  }
  if (status === 429) {
    const after = rejection.headers['retry-after'];
    return {
      status: 429,
      type: 'rate_limit_error',
      code: 'upstream_rate_limited',
      message: 'The upstream is limiting requests right now. Try again later.',
      ...(typeof after === 'string' && /^\d{1,5}$/.test(after) ? { headers: { 'retry-after': after } } : {}),
    };
  }
  if (status === 408 || status === 504) return upstreamError(504, 'upstream_timeout', 'The upstream took too long to answer.');
  if (status >= 500 || status < 400) return upstreamError(502, 'upstream_error', `The upstream answered ${status}. Nothing was charged.`);
  return passedOn(rejection, upstream);
}

/** A 4xx about the request itself: the client needs the upstream's words, without anything that looks like a key. */
function passedOn(rejection: Rejection, upstream: UpstreamSettings): GatewayError {
  const said = errorIn(rejection.body);
  const message =
    said.message && isSafe(said.message, upstream.apiKey) ? said.message : `The upstream refused the request with ${rejection.status}.`;
  return {
    status: rejection.status,
    type: wordOf(said.type) ?? 'invalid_request_error',
    code: wordOf(said.code) ?? 'upstream_rejected',
    message,
    param: wordOf(said.param),
  };
}

function errorIn(body: Buffer): { message?: string; type?: unknown; code?: unknown; param?: unknown } {
  try {
    const parsed = JSON.parse(body.toString('utf8')) as { error?: unknown; message?: unknown };
    const error = parsed?.error ?? parsed;
    if (typeof error === 'string') return { message: error.slice(0, MESSAGE_MAX) };
    if (typeof error !== 'object' || error === null) return {};
    const { message, type, code, param } = error as Record<string, unknown>;
    return { ...(typeof message === 'string' ? { message: message.slice(0, MESSAGE_MAX) } : {}), type, code, param };
  } catch {
    return {};
  }
}

const MESSAGE_MAX = 2_000;

function wordOf(value: unknown): string | null {
  return typeof value === 'string' && /^[\w.[\]-]{1,100}$/.test(value) ? value : null;
}

const KEYLIKE = /\b(?:sk|rk|pk|xai|gsk|key)-[\w*.-]{6,}/i;

/** Any eight characters in a row of the key, as it is or in base64, are too many. */
function isSafe(message: string, apiKey: string | null): boolean {
  if (KEYLIKE.test(message)) return false;
  if (!apiKey || apiKey.length < 8) return true;
  const forms = [apiKey, Buffer.from(apiKey).toString('base64'), Buffer.from(apiKey).toString('base64url')];
  return !forms.some((form) => sharesRun(message, form, 8));
}

function sharesRun(text: string, secret: string, length: number): boolean {
  for (let i = 0; i + length <= secret.length; i++) if (text.includes(secret.slice(i, i + length))) return true;
  return false;
}

/** No answer at all. */
export function failureError(failure: Failure): GatewayError {
  switch (failure.kind) {
    case 'timeout_connect':
    case 'timeout_first_byte':
    case 'timeout_idle':
      return upstreamError(504, 'upstream_timeout', 'The upstream took too long to answer. Nothing was charged.');
    case 'connect':
      return upstreamError(502, 'upstream_unreachable', 'The upstream cannot be reached. Nothing was charged.');
    case 'bad_response':
      return upstreamError(502, 'upstream_bad_response', 'The upstream answered with something that cannot be read. Nothing was charged.');
    default:
      return upstreamError(502, 'upstream_disconnected', 'The upstream closed the connection without an answer. Nothing was charged.');
  }
}
