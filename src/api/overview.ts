import { z } from '@hono/zod-openapi';
import { tokensWithin } from '../accounts/roles/ownTokens.js';
import { isOrgId } from '../domain/ids.js';
import { listLogs } from '../usage/listLogs.js';
import { EVERY_LOG } from '../usage/logFilter.js';
import { type Compared, readRecent } from '../usage/recent.js';
import { withNames } from '../usage/tokenNames.js';
import { AllowanceSchema, allowancesOf } from './allowances.js';
import { BalanceSchema, balanceOf } from './balance.js';
import { type ApiDeps, shown } from './deps.js';
import { LogSchema, logOut, TotalsSchema, totalsOut } from './logShape.js';
import { noSuchOrg } from './orgs.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema } from './schemas.js';
import { MonthSchema, monthOf } from './usageMonth.js';

const ComparedSchema = z.strictObject({ now: TotalsSchema, before: TotalsSchema });

const OverviewSchema = z
  .strictObject({
    /** Null for who may not see credits. */
    balance: BalanceSchema.nullable(),
    /** The same as in `balance`, in days; null without recent use, or without `balance`. */
    burn_rate: z.strictObject({ per_day: AmountOutSchema, runs_out_days: z.int().nullable() }).nullable(),
    month: MonthSchema,
    allowances: z.array(AllowanceSchema),
    today: ComparedSchema,
    week: ComparedSchema,
    /** The last 30 days with today, and the 30 before. */
    thirty_days: ComparedSchema,
    days: z.array(
      z.strictObject({
        date: z.iso.date(),
        totals: TotalsSchema,
        /** The five models of `top_models`, and `null` for all others; they add up to the day. */
        models: z.array(z.strictObject({ model: z.string().nullable(), requests: z.int(), cost: AmountOutSchema })),
      }),
    ),
    top_models: z.array(z.strictObject({ model: z.string(), requests: z.int(), cost: AmountOutSchema })),
    attention: z.array(
      z.strictObject({ token_id: z.string(), name: z.string(), reason: z.enum(['quota_used', 'expired', 'expires_soon', 'unused']) }),
    ),
    requests: z.array(LogSchema),
  })
  .openapi('Overview');

const RECENT_REQUESTS = 8;

export const overviewRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/overview',
    permission: 'overview.read',
    summary: 'Is everything all right? Balance, month, last days and requests in one call',
    tag: 'usage',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    answers: { 200: { description: 'The overview', schema: OverviewSchema } },
    handle: async ({ params, reach, may }) => {
      const orgId = params.org;
      const onlyTokens = await tokensWithin(deps.db, orgId, reach);
      const logs = may('logs.read');
      const onlyLogs = logs === null ? [] : await tokensWithin(deps.db, orgId, logs);
      const [balance, month, recent, requests, allowances] = await Promise.all([
        may('credits.read') === null ? null : balanceOf(deps, orgId),
        monthOf(deps, { orgId, month: null, onlyTokens }),
        readRecent({ db: deps.db, orgId, nowMs: deps.clock.nowMs(), onlyTokens }),
        listLogs({ db: deps.db, orgId, filter: { ...EVERY_LOG, onlyTokens: onlyLogs }, before: null, limit: RECENT_REQUESTS }),
        allowancesOf(deps, orgId),
      ]);
      if (balance === undefined || !month || !recent) return noSuchOrg();
      const rows = await withNames(deps.db, requests.rows);
      return answer(200, {
        balance,
        burn_rate: balance && inDays(balance),
        month,
        allowances,
        today: comparedOut(deps, recent.today),
        week: comparedOut(deps, recent.week),
        thirty_days: comparedOut(deps, recent.thirty_days),
        days: recent.days.map((day) => ({ date: day.date, totals: totalsOut(deps, day), models: sharesOut(deps, day.models) })),
        top_models: sharesOut(deps, recent.top_models),
        attention: [...recent.attention],
        requests: rows.map((row) => logOut(deps, row)),
      });
    },
  }),
];

const sharesOut = <Model>(deps: ApiDeps, shares: readonly { readonly model: Model; readonly requests: number; readonly cost: number }[]) =>
  shares.map(({ model, requests, cost }) => ({ model, requests, cost: shown(deps, cost) }));

const comparedOut = (deps: ApiDeps, { now, before }: Compared) => ({ now: totalsOut(deps, now), before: totalsOut(deps, before) });

function inDays({ burn_rate, available }: z.input<typeof BalanceSchema>) {
  const perDay = burn_rate?.per_day_7d;
  if (!perDay || perDay.micro <= 0) return null;
  return { per_day: perDay, runs_out_days: Math.max(0, Math.floor(available.micro / perDay.micro)) };
}
