import { z } from '@hono/zod-openapi';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { projectMonth } from '../usage/forecast.js';
import { type HistoryMonth, readYear } from '../usage/history.js';
import { readMonth, type UsageDay, type UsageMonth } from '../usage/month.js';
import { type ApiDeps, shown } from './deps.js';
import { TotalsSchema, totalsOut } from './logShape.js';
import { noSuchOrg } from './orgs.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut, timeOut } from './schemas.js';

const DaySchema = z.strictObject({
  date: z.iso.date(),
  requests: z.int(),
  errors: z.int(),
  input: z.int(),
  cached_input: z.int(),
  output: z.int(),
  cost: AmountOutSchema,
  top_operation: z.strictObject({ model: z.string(), endpoint: z.string(), cost: AmountOutSchema }).nullable(),
});

export const MonthSchema = z
  .strictObject({
    month: z.string(),
    time_zone: z.string(),
    range: z.strictObject({ from: TimeOut, to: TimeOut }),
    /** Booked in this month. */
    used: AmountOutSchema,
    /** Settled, but not booked yet; 0 for a month that is over. */
    pending: AmountOutSchema,
    in_flight: AmountOutSchema,
    alert_threshold: AmountOutSchema.nullable(),
    allowed_limit: AmountOutSchema.nullable(),
    /** Before the limit, not the balance; null without a limit. */
    remaining: AmountOutSchema.nullable(),
    /** By the end of the month at the usual pace; null when too little is known, and for other months. */
    projected: AmountOutSchema.nullable(),
    state: z.enum(['ok', 'alert', 'limited']),
    days: z.array(DaySchema),
    totals: TotalsSchema,
    aggregated_at: TimeOut,
  })
  .openapi('UsageMonth');

const YearSchema = z
  .strictObject({
    year: z.int(),
    time_zone: z.string(),
    months: z.array(
      z.strictObject({
        month: z.string(),
        requests: z.int(),
        errors: z.int(),
        input: z.int(),
        cached_input: z.int(),
        output: z.int(),
        cost: AmountOutSchema,
        allowed_limit: AmountOutSchema.nullable(),
        /** Against the month before: more, or negative for less. */
        change: AmountOutSchema,
      }),
    ),
    totals: TotalsSchema,
  })
  .openapi('UsageYear');

const OrgParams = z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') });
export const MonthQuery = z
  .string()
  .regex(/^20\d\d-(?:0[1-9]|1[0-2])$/, 'Write a month as 2026-11.')
  .optional();

export const usageMonthRoutes = (deps: ApiDeps): readonly Route[] => [monthRoute(deps), yearRoute(deps)];

const monthRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/usage/monthly',
    permission: 'usage.read',
    summary: 'One month: what was used day by day, against the limit',
    tag: 'usage',
    params: OrgParams,
    query: z.strictObject({ month: MonthQuery }),
    answers: { 200: { description: 'The month', schema: MonthSchema } },
    handle: async ({ params, query, reach }) => {
      const onlyTokens = await tokensWithin(deps.db, params.org, reach);
      const month = await monthOf(deps, { orgId: params.org, month: query.month ?? null, onlyTokens });
      return month ? answer(200, month) : noSuchOrg();
    },
  });

interface MonthAsked {
  readonly orgId: OrgId;
  readonly month: string | null;
  readonly onlyTokens: readonly string[] | null;
}

/** The month as every page shows it. Limits and what runs are the organization's: beside the usage of a few tokens they would mislead. */
export async function monthOf(deps: ApiDeps, asked: MonthAsked): Promise<z.input<typeof MonthSchema> | undefined> {
  const { orgId, onlyTokens } = asked;
  const read = await readMonth({ db: deps.db, nowMs: deps.clock.nowMs(), ...asked });
  if (!read) return undefined;
  if (onlyTokens !== null) return monthOut(deps, { ...read, alert_threshold: null, allowed_limit: null }, { held: 0, pending: 0 });
  const wallet = read.today.startsWith(read.month) ? await deps.ledger.wallet(orgId) : undefined;
  return monthOut(deps, read, wallet?.hot ?? { held: 0, pending: 0 });
}

function monthOut(deps: ApiDeps, month: UsageMonth, hot: { readonly held: number; readonly pending: number }): z.input<typeof MonthSchema> {
  const amount = (micro: number) => shown(deps, micro);
  const orNull = (micro: number | null) => (micro === null ? null : amount(micro));
  const { alert_threshold: alert, allowed_limit: limit } = month;
  const charged = month.totals.cost + hot.pending;
  return {
    month: month.month,
    time_zone: month.time_zone,
    range: { from: timeOut(month.starts_at), to: timeOut(month.ends_at) },
    used: amount(month.totals.cost),
    pending: amount(hot.pending),
    in_flight: amount(hot.held),
    alert_threshold: orNull(alert),
    allowed_limit: orNull(limit),
    remaining: limit === null ? null : amount(Math.max(0, limit - charged)),
    projected: orNull(projectMonth(month)),
    state: limit !== null && charged >= limit ? 'limited' : alert !== null && charged > alert ? 'alert' : 'ok',
    days: month.days.map((day) => dayOut(deps, day)),
    totals: totalsOut(deps, month.totals),
    aggregated_at: timeOut(month.aggregated_at),
  };
}

export type DayOut = z.input<typeof DaySchema>;

export function dayOut(deps: ApiDeps, { top, cost, ...day }: UsageDay): DayOut {
  return { ...day, cost: shown(deps, cost), top_operation: top === null ? null : { ...top, cost: shown(deps, top.cost) } };
}

const yearRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/usage/history',
    permission: 'usage.read',
    summary: 'The months of a year',
    tag: 'usage',
    params: OrgParams,
    query: z.strictObject({
      year: z
        .string()
        .regex(/^20\d\d$/, 'Write a year as 2026.')
        .transform(Number)
        .optional()
        .openapi({ type: 'integer', example: 2026 }),
    }),
    answers: { 200: { description: 'Its months, newest first', schema: YearSchema } },
    handle: async ({ params, query, reach }) => {
      const onlyTokens = await tokensWithin(deps.db, params.org, reach);
      const nowMs = deps.clock.nowMs();
      const year = await readYear({ db: deps.db, orgId: params.org, year: query.year ?? null, nowMs, onlyTokens });
      if (!year) return noSuchOrg();
      const { time_zone, months, totals } = year;
      return answer(200, {
        year: year.year,
        time_zone,
        months: months.map((month) => historyOut(deps, month)),
        totals: totalsOut(deps, totals),
      });
    },
  });

const historyOut = (deps: ApiDeps, { cost, cost_before, allowed_limit, ...month }: HistoryMonth) => ({
  ...month,
  cost: shown(deps, cost),
  allowed_limit: allowed_limit === null ? null : shown(deps, allowed_limit),
  change: shown(deps, cost - cost_before),
});
