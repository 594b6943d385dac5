import { z } from '@hono/zod-openapi';
import { isTokenId } from '../domain/ids.js';
import type { LogFilter } from '../usage/logFilter.js';
import { STORABLE } from './body.js';
import { STATUSES } from './logShape.js';
import { invalid, type Problem } from './problem.js';
import { AmountIn, TimeIn } from './schemas.js';

/** Repeated parameters or commas. */
export const listOf = <Item extends string>(item: z.ZodType<Item, string>) =>
  z
    .union([z.string(), z.array(z.string())])
    .transform((value) => [value].flat().flatMap((one) => one.split(',')))
    .pipe(z.array(item).max(50, 'At most 50 values.'))
    .optional()
    .openapi({ type: 'string', description: 'One or more, separated by commas.' });

const named = (what: string) =>
  z.string().min(1, `Name ${what}.`).max(256, 'At most 256 characters.').regex(STORABLE, 'Nothing has such a name.');

/** The filters that all views of the logs share: a page, its totals, and an export mean the same requests. */
export const LogFilters = z.strictObject({
  from: TimeIn.optional(),
  to: TimeIn.optional(),
  model: listOf(z.string().min(1, 'Name a model.').max(256).regex(STORABLE, 'No model has such a name.')),
  token_id: listOf(z.string().refine(isTokenId, 'A token id looks like tok_07Ab12Cd34Ef56.')),
  status: listOf(z.enum(STATUSES)),
  endpoint: listOf(named('an endpoint')),
  agent: listOf(named('an agent')),
  conversation: listOf(named('a conversation')),
  end_user: listOf(named('an end user')),
  upstream: listOf(named('an upstream')),
  project: listOf(named('a project')),
  member: listOf(named('a member')),
  min_cost: AmountIn.optional(),
  min_latency_ms: z
    .string()
    .regex(/^\d{1,9}$/, 'Milliseconds, as a whole number.')
    .transform(Number)
    .optional()
    .openapi({ type: 'integer' }),
  stream: z.enum(['true', 'false']).optional(),
  request_id: z
    .string()
    .regex(/^req_[0-9a-f]{1,32}$/, 'The beginning of a request id: req_ and up to 32 hex digits.')
    .optional(),
});

export type LogFilterQuery = z.output<typeof LogFilters>;

export function filterOf(query: LogFilterQuery, onlyTokens: LogFilter['onlyTokens']): LogFilter | Problem {
  const { from, to } = query;
  if (from && to && from >= to) return invalid([{ pointer: '?to', code: 'not_after_from', message: '`to` must be later than `from`.' }]);
  return {
    onlyTokens,
    fromMs: from === undefined ? null : Date.parse(from),
    toMs: to === undefined ? null : Date.parse(to),
    models: query.model ?? [],
    tokenIds: query.token_id ?? [],
    statuses: query.status ?? [],
    endpoints: query.endpoint ?? [],
    agents: query.agent ?? [],
    conversations: query.conversation ?? [],
    endUsers: query.end_user ?? [],
    upstreams: query.upstream ?? [],
    projects: query.project ?? [],
    members: query.member ?? [],
    minCost: query.min_cost ?? null,
    minLatencyMs: query.min_latency_ms ?? null,
    stream: query.stream === undefined ? null : query.stream === 'true',
    idPrefix: query.request_id?.slice(4) ?? null,
  };
}

export const isProblem = (value: object): value is Problem => 'kind' in value && value.kind === 'problem';
