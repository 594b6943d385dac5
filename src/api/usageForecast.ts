import { z } from '@hono/zod-openapi';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId } from '../domain/ids.js';
import { type Forecast, FULL_DAYS_MIN, forecastOf, reachedOn } from '../usage/forecast.js';
import { readMonth, type UsageMonth } from '../usage/month.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut, timeOut } from './schemas.js';

const ReachedSchema = z
  .strictObject({
    amount: AmountOutSchema,
    reached: z.boolean(),
    /** In this month; null when it is reached already, or not expected before the month ends. */
    expected_on: z.iso.date().nullable(),
    earliest: z.iso.date().nullable(),
    latest: z.iso.date().nullable(),
  })
  .nullable();

const ForecastSchema = z
  .strictObject({
    month: z.string(),
    time_zone: z.string(),
    as_of: TimeOut,
    /** Booked in this month so far. */
    used: AmountOutSchema,
    /** By the end of the month; null while too little is known. In four of five cases it ends between low and high. */
    projected: AmountOutSchema.nullable(),
    low: AmountOutSchema.nullable(),
    high: AmountOutSchema.nullable(),
    reason: z.literal('not_enough_data').nullable(),
    message: z.string().nullable(),
    /** What it learns from: whole days since the first use, the last 28 at most; three are needed. */
    basis: z.strictObject({ from: z.iso.date().nullable(), full_days: z.int(), full_days_needed: z.int(), per_day: AmountOutSchema }),
    /** Every day of the month with the month's total at its end; without a projection only those until today. */
    days: z.array(
      z.strictObject({
        date: z.iso.date(),
        /** What this day cost; null for days to come. */
        cost: AmountOutSchema.nullable(),
        total: AmountOutSchema,
        low: AmountOutSchema,
        high: AmountOutSchema,
        projected: z.boolean(),
      }),
    ),
    alert: ReachedSchema,
    limit: ReachedSchema,
  })
  .openapi('UsageForecast');

export const usageForecastRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/usage/forecast',
    permission: 'usage.read',
    summary: 'What the running month will cost, and when that reaches the alert and the limit',
    tag: 'usage',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    answers: { 200: { description: 'The forecast', schema: ForecastSchema } },
    handle: async ({ params, reach }) => {
      const onlyTokens = await tokensWithin(deps.db, params.org, reach);
      const read = await readMonth({ db: deps.db, orgId: params.org, month: null, nowMs: deps.clock.nowMs(), onlyTokens });
      if (!read) return noSuchOrg();
      // The limits are the organization's: beside the usage of a few tokens they would mislead.
      const month = onlyTokens === null ? read : { ...read, alert_threshold: null, allowed_limit: null };
      const forecast = forecastOf(month);
      if (!forecast) throw new Error('the running month has no forecast');
      return answer(200, forecastOut(deps, month, forecast));
    },
  }),
];

function forecastOut(deps: ApiDeps, month: UsageMonth, forecast: Forecast): z.input<typeof ForecastSchema> {
  const amount = (micro: number) => shown(deps, micro);
  const end = forecast.days.at(-1) ?? null;
  const { used, alert, limit } = { used: month.totals.cost, alert: month.alert_threshold, limit: month.allowed_limit };
  const needed = `Not enough data yet: a forecast needs ${FULL_DAYS_MIN} whole days since the first use.`;
  return {
    month: month.month,
    time_zone: month.time_zone,
    as_of: timeOut(month.aggregated_at),
    used: amount(used),
    projected: end && amount(end.total),
    low: end && amount(end.low),
    high: end && amount(end.high),
    reason: end ? null : 'not_enough_data',
    message: end ? null : needed,
    basis: { from: forecast.from, full_days: forecast.fullDays, full_days_needed: FULL_DAYS_MIN, per_day: amount(forecast.perDay) },
    days: daysOut(deps, month, forecast),
    alert: alert === null ? null : reached(deps, forecast, { used, amount: alert, isReached: (total) => total > alert }),
    limit: limit === null ? null : reached(deps, forecast, { used, amount: limit, isReached: (total) => total >= limit }),
  };
}

interface Mark {
  readonly used: number;
  readonly amount: number;
  isReached(total: number): boolean;
}

function reached(deps: ApiDeps, { days }: Forecast, { used, amount, isReached }: Mark): z.input<typeof ReachedSchema> {
  if (isReached(used)) return { amount: shown(deps, amount), reached: true, expected_on: null, earliest: null, latest: null };
  const { expected, ...edges } = reachedOn(days, isReached);
  return { amount: shown(deps, amount), reached: false, expected_on: expected, ...edges };
}

function daysOut(deps: ApiDeps, month: UsageMonth, forecast: Forecast): z.input<typeof ForecastSchema>['days'] {
  const amount = (micro: number) => shown(deps, micro);
  const costs = new Map(month.days.map(({ date, cost }) => [date, cost]));
  let total = 0;
  const known = [...month.days].reverse().filter(({ date }) => date < month.today || forecast.days.length === 0);
  const past = known.map(({ date, cost }) => {
    total += cost;
    return { date, cost: amount(cost), total: amount(total), low: amount(total), high: amount(total), projected: false };
  });
  const ahead = forecast.days.map(({ date, ...day }) => ({
    date,
    cost: date === month.today ? amount(costs.get(date) ?? 0) : null,
    ...{ total: amount(day.total), low: amount(day.low), high: amount(day.high), projected: true },
  }));
  return [...past, ...ahead];
}
