import { isRequestId, newRequestId } from '../../domain/ids.js';
import { errorFacts } from '../../telemetry/log.js';
import { ALL_USAGE, type BucketQuestion, readBuckets } from '../../usage/buckets.js';
import { readLog } from '../../usage/readLog.js';
import type { TokenFacts } from '../../usage/tokenFacts.js';
import type { ApiDeps } from '../deps.js';
import { problemOf } from '../errors.js';
import { type CompatError, identify, refusal } from './identify.js';
import { billingUsageOut, creditsOut, generationOut, grantsOut, keyOut, subscriptionOut, usageOut } from './shapes.js';

type Handler = (deps: ApiDeps, token: TokenFacts, query: URLSearchParams) => Promise<object> | object;

const BILLING: readonly (readonly [string, Handler])[] = [
  ['subscription', (deps, token) => subscriptionOut(deps, token)],
  ['usage', billingUsage],
  ['credit_grants', (deps, token) => grantsOut(deps, token)],
];

/** What a token may ask about itself, in the shapes of the services whose clients it is used with. */
const HANDLERS = new Map<string, Handler>([
  ['/v1/key', (deps, token) => keyOut(deps, token)],
  ['/v1/auth/key', (deps, token) => keyOut(deps, token)],
  ['/v1/credits', (deps, token) => creditsOut(deps, token)],
  ['/v1/generation', generation],
  ['/v1/usage', usage],
  ...BILLING.flatMap(([name, handler]) => [
    [`/v1/dashboard/billing/${name}`, handler] as const,
    [`/dashboard/billing/${name}`, handler] as const,
  ]),
]);

export const COMPAT_PATHS: readonly string[] = [...HANDLERS.keys()];

export async function answerCompat(deps: ApiDeps, request: Request, address: string | undefined): Promise<Response> {
  const requestId = newRequestId();
  try {
    const url = new URL(request.url);
    const handler = HANDLERS.get(url.pathname);
    if (!handler) return respond(refusal(404, 'unknown_url', 'There is nothing at this path.'), requestId);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return respond(refusal(405, 'method_not_allowed', `${request.method.slice(0, 20)} is not allowed here. Use GET.`), requestId);
    const token = await identify(deps, request.headers, address);
    if ('kind' in token) return respond(token, requestId);
    return respond(await handler(deps, token, url.searchParams), requestId);
  } catch (error) {
    deps.log.error({ request_id: requestId, err: errorFacts(error) }, 'a question of a token about itself failed');
    const { status, code, detail } = problemOf(error);
    return respond({ kind: 'error', status, code, type: 'api_error', message: detail }, requestId);
  }
}

function respond(body: object, requestId: string): Response {
  const failed = 'kind' in body && body.kind === 'error' ? (body as CompatError) : undefined;
  const headers: Record<string, string> = {
    'content-type': 'application/json; charset=utf-8',
    'x-request-id': requestId,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
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

const HOUR_S = 3_600;
const DAY_S = 86_400;

const questionOf = (token: TokenFacts, width: BucketQuestion['width'], from: string, to: string, byModel: boolean): BucketQuestion => ({
  orgId: token.org_id,
  width,
  from,
  to,
  groupBy: byModel ? ['model'] : [],
  measure: 'cost',
  top: 50,
  filter: { ...ALL_USAGE, onlyTokens: [token.token_id] },
});

async function usage(deps: ApiDeps, token: TokenFacts, query: URLSearchParams): Promise<object> {
  const width = query.get('bucket_width') ?? '1d';
  if (width !== '1d' && width !== '1h') return refusal(400, 'invalid_bucket_width', 'bucket_width is 1d or 1h.', 'bucket_width');
  const groups = query
    .getAll('group_by')
    .flatMap((one) => one.split(','))
    .map((one) => one.replace(/\[\]$/, ''));
  if (groups.some((one) => one !== 'model' && one !== 'api_key_id'))
    return refusal(400, 'invalid_group_by', 'group_by is model or api_key_id.', 'group_by');
  const now = Math.ceil(deps.clock.nowMs() / 1000);
  const most = width === '1d' ? 31 * DAY_S : 168 * HOUR_S;
  const end = secondsOf(query.get('end_time')) ?? now;
  const start = secondsOf(query.get('start_time')) ?? end - (width === '1d' ? 7 * DAY_S : DAY_S);
  if (Number.isNaN(start) || Number.isNaN(end))
    return refusal(400, 'invalid_time', 'start_time and end_time are seconds since 1970.', 'start_time');
  if (!(start < end) || end - start > most)
    return refusal(
      400,
      'invalid_range',
      `end_time must be later than start_time, by at most ${width === '1d' ? '31 days' : '168 hours'}.`,
      'end_time',
    );
  const byModel = groups.includes('model');
  const hours = width === '1h';
  const from = hours ? new Date(start * 1000).toISOString() : dayIn(token.time_zone, start * 1000);
  const to = hours ? new Date(end * 1000).toISOString() : dayAfter(dayIn(token.time_zone, end * 1000 - 1));
  return usageOut(deps, await readBuckets(deps.db, questionOf(token, width, from, to, byModel)), byModel, token.token_id);
}

async function billingUsage(deps: ApiDeps, token: TokenFacts, query: URLSearchParams): Promise<object> {
  const from = query.get('start_date') ?? dayIn(token.time_zone, Date.parse(token.created_at));
  const to = query.get('end_date') ?? dayAfter(dayIn(token.time_zone, deps.clock.nowMs()));
  if (!isDay(from) || !isDay(to)) return refusal(400, 'invalid_date', 'Write start_date and end_date as 2026-11-20.', 'start_date');
  if (from >= to)
    return refusal(400, 'invalid_range', 'end_date is not part of the range, so it must be later than start_date.', 'end_date');
  return billingUsageOut(deps, await readBuckets(deps.db, questionOf(token, '1d', from, to, true)));
}

function secondsOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  return /^\d{1,11}$/.test(text) ? Number(text) : Number.NaN;
}

const isDay = (text: string): boolean =>
  /^20\d\d-\d\d-\d\d$/.test(text) && Number.isFinite(Date.parse(text)) && new Date(text).toISOString().startsWith(text);
const dayIn = (timeZone: string, ms: number): string =>
  new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' }).format(new Date(ms));
const dayAfter = (day: string): string => new Date(Date.parse(day) + DAY_S * 1000).toISOString().slice(0, 10);
