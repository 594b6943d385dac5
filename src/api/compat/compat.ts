import { isRequestId, newRequestId } from '../../domain/ids.js';
import { type Allowance, createRates, FREE_PER_MINUTE, type Rates } from '../../domain/pace.js';
import { SEALED } from '../../domain/sealed.js';
import { fingerprintOf } from '../../domain/secrets.js';
import { errorFacts } from '../../telemetry/log.js';
import { ALL_USAGE, readBuckets } from '../../usage/buckets.js';
import { readLog } from '../../usage/readLog.js';
import type { TokenFacts } from '../../usage/tokenFacts.js';
import type { ApiDeps } from '../deps.js';
import { problemOf } from '../errors.js';
import { dayAfter, dayAt } from '../usageQuery.js';
import { accountOf } from './account.js';
import { type CompatError, identify, refusal, secretOf } from './identify.js';
import { identifyScope, ORGANIZATION_PATHS, organizationUsage, WIDTHS } from './organization.js';
import { pageOf, type Scope } from './page.js';
import { billingUsageOut, creditsOut, generationOut, grantsOut, keyOut, subscriptionOut, usageOut } from './shapes.js';

type Handler = (deps: ApiDeps, token: TokenFacts, query: URLSearchParams) => Promise<object> | object;

const BILLING: readonly (readonly [string, Handler])[] = [
  ['subscription', async (deps, token) => subscriptionOut(deps, await accountOf(deps, token))],
  ['usage', billingUsage],
  ['credit_grants', async (deps, token) => grantsOut(deps, await accountOf(deps, token))],
];

/** What a token may ask about itself, in the shapes of the services whose clients it is used with. */
const HANDLERS = new Map<string, Handler>([
  ['/v1/key', (deps, token) => keyOut(deps, token)],
  ['/v1/auth/key', (deps, token) => keyOut(deps, token)],
  ['/v1/credits', async (deps, token) => creditsOut(deps, await accountOf(deps, token))],
  ['/v1/generation', generation],
  ['/v1/usage', usage],
  ...BILLING.flatMap(([name, handler]) => [
    [`/v1/dashboard/billing/${name}`, handler] as const,
    [`/dashboard/billing/${name}`, handler] as const,
  ]),
]);

/** What only a token may ask, about itself. */
export const COMPAT_PATHS: readonly string[] = [...HANDLERS.keys()];
const ORGANIZATION: ReadonlySet<string> = new Set(ORGANIZATION_PATHS);

export function createCompat(deps: ApiDeps): (request: Request, address: string | undefined) => Promise<Response> {
  const rates = createRates(deps.clock.nowMs);
  return async (request, address) => {
    const pace = paceOf(rates, request.headers, address);
    const response = pace.ok ? await answerCompat(deps, request, address) : respond(tooOften(), newRequestId());
    // Somebody who guesses sends another credential every time.
    const guess = response.status === 401 ? rates.take(`refused:${address ?? ''}`, FREE_PER_MINUTE.address) : null;
    return guess?.ok === false ? paced(respond(tooOften(), newRequestId()), guess) : paced(response, pace);
  };
}

function paceOf(rates: Rates, headers: Headers, address: string | undefined): Allowance {
  const secret = secretOf(headers);
  return secret === undefined
    ? rates.take(`address:${address ?? ''}`, FREE_PER_MINUTE.address)
    : rates.take(`key:${fingerprintOf(secret)}`, FREE_PER_MINUTE.credential);
}

const tooOften = (): CompatError => ({
  ...refusal(429, 'rate_limit_exceeded', 'Too many questions with this credential. Ask again in a moment.'),
  type: 'rate_limit_error',
});

function paced(response: Response, { ok, limit, remaining, fullInMs, waitMs }: Allowance): Response {
  response.headers.set('x-ratelimit-limit-requests', String(limit));
  response.headers.set('x-ratelimit-remaining-requests', String(remaining));
  response.headers.set('x-ratelimit-reset-requests', `${Math.ceil(fullInMs / 1000)}s`);
  if (!ok) response.headers.set('retry-after', String(Math.max(1, Math.ceil(waitMs / 1000))));
  return response;
}

async function answerCompat(deps: ApiDeps, request: Request, address: string | undefined): Promise<Response> {
  const requestId = newRequestId();
  try {
    const url = new URL(request.url);
    const { pathname, searchParams } = url;
    if (!HANDLERS.has(pathname) && !ORGANIZATION.has(pathname))
      return respond(refusal(404, 'unknown_url', 'There is nothing at this path.'), requestId);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return respond(refusal(405, 'method_not_allowed', `${request.method.slice(0, 20)} is not allowed here. Use GET.`), requestId);
    return respond(await answerTo(deps, { pathname, searchParams, headers: request.headers, address }), requestId);
  } catch (error) {
    deps.log.error({ request_id: requestId, err: errorFacts(error) }, 'a question of a token about itself failed');
    const { status, code, detail } = problemOf(error);
    return respond({ kind: 'error', status, code, type: 'api_error', message: detail }, requestId);
  }
}

interface Question {
  readonly pathname: string;
  readonly searchParams: URLSearchParams;
  readonly headers: Headers;
  readonly address: string | undefined;
}

async function answerTo(deps: ApiDeps, { pathname, searchParams, headers, address }: Question): Promise<object> {
  const handler = HANDLERS.get(pathname);
  if (handler) {
    const token = await identify(deps, headers, address);
    return 'kind' in token ? token : handler(deps, token, searchParams);
  }
  const scope = await identifyScope(deps, headers, address);
  return 'kind' in scope ? scope : organizationUsage(deps, scope, pathname, searchParams);
}

function respond(body: object, requestId: string): Response {
  const failed = 'kind' in body && body.kind === 'error' ? (body as CompatError) : undefined;
  const headers: Record<string, string> = {
    'content-type': 'application/json; charset=utf-8',
    'x-request-id': requestId,
    'cache-control': 'no-store',
    ...SEALED,
    ...(failed?.status === 503 ? { 'retry-after': '2' } : {}),
    ...(failed?.status === 405 ? { allow: 'GET, HEAD' } : {}),
  };
  if (!failed) return new Response(JSON.stringify(body), { status: 200, headers });
  const { message, type, param = null, code } = failed;
  return new Response(JSON.stringify({ error: { message, type, param, code, metadata: { request_id: requestId } } }), {
    status: failed.status,
    headers,
  });
}

async function generation(deps: ApiDeps, token: TokenFacts, query: URLSearchParams): Promise<object> {
  const id = query.get('id') ?? '';
  if (!isRequestId(id)) return refusal(400, 'invalid_id', 'Send id=req_…, the x-request-id of a request of this token.', 'id');
  const row = await readLog({ db: deps.db, orgId: token.org_id, requestId: id, onlyTokens: [token.token_id] });
  if (!row)
    return refusal(
      404,
      'generation_not_found',
      'There is no settled request of this token with this id. A request appears here once it is settled.',
      'id',
    );
  return generationOut(deps, row);
}

/** Of this very token, whatever it was: all buckets that one page may have, and what they cost. */
async function usage(deps: ApiDeps, token: TokenFacts, query: URLSearchParams): Promise<object> {
  const widths = Object.fromEntries(Object.entries(WIDTHS).map(([width, { most }]) => [width, { usual: most, most }]));
  const groups = { model: 'model', api_key_id: 'token' } as const;
  const page = await pageOf(deps, scopeOf(token), query, { widths, groups, filters: ['models'], endpoints: null });
  return 'kind' in page ? page : usageOut(deps, page, token.token_id);
}

const scopeOf = (token: TokenFacts): Scope => ({ orgId: token.org_id, timeZone: token.time_zone, onlyTokens: [token.token_id] });

async function billingUsage(deps: ApiDeps, token: TokenFacts, query: URLSearchParams): Promise<object> {
  const from = query.get('start_date') ?? dayAt(Date.parse(token.created_at), token.time_zone);
  const to = query.get('end_date') ?? dayAfter(dayAt(deps.clock.nowMs(), token.time_zone));
  if (!isDay(from) || !isDay(to))
    return refusal(400, 'invalid_date', 'Write start_date and end_date as 2026-11-20.', isDay(from) ? 'end_date' : 'start_date');
  if (from >= to)
    return refusal(400, 'invalid_range', 'end_date is not part of the range, so it must be later than start_date.', 'end_date');
  const onlyTokens = deps.compat.creditsScope === 'org' ? null : [token.token_id];
  const question = { orgId: token.org_id, width: '1d', from, to, groupBy: ['model'], measure: 'cost', top: 50 } as const;
  return billingUsageOut(deps, await readBuckets(deps.db, { ...question, filter: { ...ALL_USAGE, onlyTokens } }));
}

const isDay = (text: string): boolean =>
  /^20\d\d-\d\d-\d\d$/.test(text) && Number.isFinite(Date.parse(text)) && new Date(text).toISOString().startsWith(text);
