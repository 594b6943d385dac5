import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { clientAddress } from '../domain/addresses.js';
import { newRequestId } from '../domain/ids.js';
import { type Allowance, createRates, type Rates } from '../domain/pace.js';
import { fingerprintOf } from '../domain/secrets.js';
import { errorFacts } from '../telemetry/log.js';
import { from } from '../telemetry/origin.js';
import { readBody } from './body.js';
import type { ApiDeps } from './deps.js';
import { problemOf } from './errors.js';
import { guard, type Knock } from './guard.js';
import { type Problem, problemResponse, tooFast } from './problem.js';
import { rateHeaders } from './rates.js';
import type { Answer, RawCall, Route } from './route.js';
import { createViews, type Views } from './views.js';

/** Requests a minute. People and programs stay far below; the operator's own tools do bulk work. */
const PER_MINUTE = { operator: 30_000, credential: 1_200, address: 300 };

/** Answers a request to one route: counted, guarded, read, done. */
export function createPerformer(deps: ApiDeps): (c: Context, one: Route) => Promise<Response> {
  const rates = createRates(deps.clock.nowMs);
  const views = createViews(deps);
  return async (c, one) => {
    const requestId = newRequestId();
    const pace: Pace = { rates, address: addressOf(c, deps.trustedProxies), allowance: undefined };
    try {
      const result = await perform(c, one, { deps, requestId, pace, views });
      const response = result.kind === 'problem' ? problemResponse(result, requestId) : answerResponse(result, requestId);
      return paced(sealed(response), pace);
    } catch (error) {
      return paced(failed(error, deps, requestId), pace);
    }
  };
}

interface Pace {
  readonly rates: Rates;
  readonly address: string | undefined;
  /** Of the credential, or the address where there is none. */
  allowance: Allowance | undefined;
}

interface Call {
  readonly deps: ApiDeps;
  readonly requestId: string;
  readonly pace: Pace;
  readonly views: Views;
}

async function perform(c: Context, one: Route, { deps, requestId, pace, views }: Call): Promise<Answer | Problem> {
  const params = c.req.param() as Record<string, string>;
  const { headers } = c.req.raw;
  const early = beforehand(pace, headers);
  if (early && !early.ok) return tooFast(early.waitMs);
  const guarded = await guard(deps, {
    headers,
    url: c.req.url,
    method: c.req.method,
    address: pace.address,
    permission: one.permission,
    stepUp: one.stepUp ?? false,
    org: orgOf(one, params),
  });
  if (guarded.kind === 'problem') return guarded.status === 401 ? (guessing(pace) ?? guarded) : guarded;
  const { caller, orgId } = guarded;
  if (!early && !isPaced(pace, caller.session?.personId)) return tooFast(pace.allowance?.waitMs ?? 0);
  const body = one.method === 'get' ? ({ kind: 'read', value: {} } as const) : await readBody(c.req.raw);
  if (body.kind === 'problem') return body;
  const { address } = pace;
  const isReading = one.method === 'get';
  if (isReading && orgId !== null && (one.isShort || one.path.startsWith('/api/v1/orgs/{org}')))
    await views({ actor: caller.actor, orgId, address });
  const raw: RawCall = {
    params: orgId === null ? params : { ...params, org: orgId },
    query: queryOf(c.req.url),
    body: body.value,
    headers: {
      idempotencyKey: c.req.header('idempotency-key'),
      ifMatch: c.req.header('if-match'),
      accept: c.req.header('accept'),
      lastEventId: c.req.header('last-event-id'),
    },
    caller,
    from: { headers, address, url: c.req.url },
    requestId,
  };
  // What a change writes into the audit log says from where it was asked for.
  return isReading ? one.respond(raw) : from(address, () => one.respond(raw));
}

function orgOf({ path, isShort }: Route, params: Readonly<Record<string, string>>): Knock['org'] {
  if (isShort) return { kind: 'own' };
  const id = params['org'];
  return id === undefined || !path.includes('{org}') ? { kind: 'none' } : { kind: 'named', id };
}

/** Counted before anybody is looked up: by the key that was sent, or by the address when there is neither key nor cookie. */
function beforehand(pace: Pace, headers: Headers): Allowance | undefined {
  const sent = headers.get('authorization');
  if (sent) {
    const perMinute = /^Bearer +ok-fb-/i.test(sent) ? PER_MINUTE.operator : PER_MINUTE.credential;
    pace.allowance = pace.rates.take(`key:${fingerprintOf(sent)}`, perMinute);
  } else if (!headers.get('cookie')) {
    pace.allowance = pace.rates.take(`address:${pace.address ?? ''}`, PER_MINUTE.address);
  }
  return pace.allowance;
}

/** A cookie counts for the person it belongs to; where nobody asked whose it is, the address counts. */
function isPaced(pace: Pace, personId: string | undefined): boolean {
  const { rates, address } = pace;
  const allowance = personId
    ? rates.take(`person:${personId}`, PER_MINUTE.credential)
    : rates.take(`address:${address ?? ''}`, PER_MINUTE.address);
  pace.allowance = allowance;
  return allowance.ok;
}

/** Credentials that nobody has are counted by the address they come from. */
function guessing({ rates, address }: Pace): Problem | undefined {
  const { ok, waitMs } = rates.take(`refused:${address ?? ''}`, PER_MINUTE.address);
  return ok ? undefined : tooFast(waitMs);
}

/** Over the socket of our own gateways there is no peer; they say whose request it is, and overwrite what a client says. */
export function addressOf(c: Context, trusted: readonly string[]): string | undefined {
  const { incoming } = (c.env ?? {}) as { readonly incoming?: IncomingMessage };
  const forwarded = c.req.header('x-forwarded-for');
  const peer = incoming?.socket.remoteAddress;
  return peer === undefined ? forwarded : clientAddress({ peer, forwarded, trusted });
}

function queryOf(url: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, value] of new URL(url).searchParams) found.set(name, [...(found.get(name) ?? []), value]);
  return found;
}

function answerResponse({ status, body, headers, cookies = [], stream }: Answer, requestId: string): Response {
  const head = { 'content-type': 'application/json; charset=utf-8', 'x-request-id': requestId, ...headers };
  const response = new Response(stream ?? JSON.stringify(body), { status, headers: head });
  for (const cookie of cookies) response.headers.append('set-cookie', cookie);
  return response;
}

export function failed(error: unknown, deps: ApiDeps, requestId: string): Response {
  const problem = problemOf(error);
  deps.log.error({ request_id: requestId, err: errorFacts(error) }, 'a management request failed');
  return sealed(problemResponse(problem, requestId));
}

/** What every answer carries besides its id, good or bad: nothing here is a page, unless its route says so and how. */
export function sealed(response: Response): Response {
  for (const [name, value] of SEAL) response.headers.set(name, value);
  if (!response.headers.has('cache-control')) response.headers.set('cache-control', 'no-store');
  if (!response.headers.has('content-security-policy')) response.headers.set('content-security-policy', NO_PAGE);
  return response;
}

const NO_PAGE = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const SEAL = [
  ['x-content-type-options', 'nosniff'],
  ['referrer-policy', 'no-referrer'],
  ['x-frame-options', 'DENY'],
  ['cross-origin-opener-policy', 'same-origin'],
  ['cross-origin-resource-policy', 'same-origin'],
] as const;

function paced(response: Response, { allowance }: Pace): Response {
  if (allowance) for (const [name, value] of Object.entries(rateHeaders(allowance))) response.headers.set(name, value);
  return response;
}
