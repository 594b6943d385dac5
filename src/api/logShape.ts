import { z } from '@hono/zod-openapi';
import type { RequestStatus } from '../domain/charge.js';
import type { LogTotals } from '../usage/sumLogs.js';
import type { NamedLogRow } from '../usage/tokenNames.js';
import { type ApiDeps, shown } from './deps.js';
import { AmountOutSchema, TimeOut, timeOut } from './schemas.js';

export const STATUSES = ['complete', 'partial', 'cancelled', 'orphaned', 'failed', 'rejected'] as const satisfies readonly RequestStatus[];

export const LogSchema = z
  .strictObject({
    request_id: z.string(),
    time: TimeOut,
    model: z.string(),
    token_id: z.string(),
    /** The token's name, project and owner as they are now. */
    token_name: z.string(),
    project: z.string().nullable(),
    owner: z.strictObject({ id: z.string(), name: z.string().nullable() }).nullable(),
    status: z.enum(STATUSES),
    stream: z.boolean(),
    debt: z.boolean(),
    source: z.enum(['upstream', 'estimated']),
    usage: z.strictObject({ input: z.int(), cached_input: z.int(), output: z.int(), reasoning: z.int() }),
    charged: AmountOutSchema,
    price_version: z.string(),
    held: AmountOutSchema,
    breakdown: z.strictObject({
      lines: z.array(z.strictObject({ meter: z.string(), quantity: z.number(), rate: z.string() })),
      times: z.string(),
    }),
    served_model: z.string(),
    upstream: z.string(),
    endpoint: z.string(),
    http_status: z.int(),
    attempts: z.int(),
    latency_ms: z.int(),
    ttft_ms: z.int().nullable(),
    client_request_id: z.string().nullable(),
    end_user: z.string().nullable(),
    agent: z.string().nullable(),
    conversation: z.string().nullable(),
    finish_reason: z.string().nullable(),
    flags: z.array(z.string()),
    /** With status `rejected`: what its client was told, and how many more of this token were refused in that minute without a row of their own. */
    refusal: z.strictObject({ code: z.string(), unlisted: z.int() }).nullable(),
  })
  .openapi('LogRow');

export function logOut(deps: Pick<ApiDeps, 'credits'>, row: NamedLogRow): z.input<typeof LogSchema> {
  return {
    request_id: row.request_id,
    time: timeOut(row.ts),
    model: row.model,
    token_id: row.token_id,
    token_name: row.token_name,
    project: row.project,
    owner: row.owner,
    status: row.status,
    stream: row.stream,
    debt: row.debt,
    source: row.source,
    usage: { input: row.input, cached_input: row.cached_input, output: row.output, reasoning: row.reasoning },
    charged: shown(deps, row.cost),
    price_version: row.price_version,
    held: shown(deps, row.held),
    breakdown: {
      lines: row.breakdown.lines.map(({ meter, quantity, rate }) => ({ meter, quantity, rate })),
      times: row.breakdown.times,
    },
    served_model: row.served_model,
    upstream: row.upstream,
    endpoint: row.endpoint,
    http_status: row.http_status,
    attempts: row.attempts,
    latency_ms: row.latency_ms,
    ttft_ms: row.ttft_ms,
    client_request_id: row.client_request_id,
    end_user: row.end_user,
    agent: row.agent,
    conversation: row.conversation,
    finish_reason: row.finish_reason,
    flags: [...row.flags],
    refusal: row.status === 'rejected' ? refusalOf(row.flags) : null,
  };
}

const UNLISTED = /^unlisted:(\d{1,15})$/;

function refusalOf(flags: readonly string[]): { code: string; unlisted: number } {
  const unlisted = flags.map((flag) => UNLISTED.exec(flag)?.[1]).find((count) => count !== undefined);
  return { code: flags[0] ?? 'unknown', unlisted: Number(unlisted ?? 0) };
}

/** Sums over a whole filter, wherever they appear. */
export const TotalsSchema = z
  .strictObject({
    requests: z.int(),
    errors: z.int(),
    input: z.int(),
    cached_input: z.int(),
    output: z.int(),
    charged: AmountOutSchema,
  })
  .openapi('Totals');

export const totalsOut = (deps: Pick<ApiDeps, 'credits'>, sums: LogTotals): z.input<typeof TotalsSchema> => ({
  requests: sums.requests,
  errors: sums.errors,
  input: sums.input,
  cached_input: sums.cached_input,
  output: sums.output,
  charged: shown(deps, sums.cost),
});
