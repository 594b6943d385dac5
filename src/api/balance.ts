import { z } from '@hono/zod-openapi';
import { isOrgId, type OrgId } from '../domain/ids.js';
import { type Burn, type RunsOut, readBurn, runsOut } from '../usage/burn.js';
import { type ApiDeps, shown, type Wallet } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

export const BalanceSchema = z
  .strictObject({
    org_id: z.string(),
    /** Booked, less what is settled but not booked yet, less what running requests have set aside. */
    available: AmountOutSchema,
    in_flight: AmountOutSchema,
    pending: AmountOutSchema,
    settled: AmountOutSchema,
    debt: AmountOutSchema,
    overdraft: AmountOutSchema,
    spendable: AmountOutSchema,
    month: z.strictObject({ spent: AmountOutSchema, limit: AmountOutSchema.nullable(), ends_at: TimeOut.nullable() }),
    by_bucket: z.array(
      z.strictObject({
        id: z.string(),
        kind: z.string(),
        category: z.string(),
        burn_order: z.int(),
        granted: AmountOutSchema,
        remaining: AmountOutSchema,
        expires_at: TimeOut.nullable(),
        created_at: TimeOut,
        reason: z.string().nullable(),
      }),
    ),
    /** Charges per day: the mean of the last seven whole days, and the last 24 hours. Null until a first day is over. */
    burn_rate: z.strictObject({ per_day_7d: AmountOutSchema, per_day_24h: AmountOutSchema }).nullable(),
    /** When `available` is gone at the pace of the seven days; `latest` null: perhaps never. Null without recent use. */
    runs_out: z.strictObject({ at: TimeOut, earliest: TimeOut, latest: TimeOut.nullable() }).nullable(),
    currency: z.string().nullable(),
    /** False: the hot store does not answer, so running requests are not in these figures. */
    live: z.boolean(),
    seq: z.int(),
    as_of: TimeOut,
  })
  .openapi('Balance');

export const balanceRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/balance',
    permission: 'credits.read',
    summary: 'What there is, what is set aside, and where it came from',
    tag: 'credits',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    answers: { 200: { description: 'The balance', schema: BalanceSchema } },
    handle: async ({ params }) => {
      const balance = await balanceOf(deps, params.org);
      return balance ? answer(200, balance) : noSuchOrg();
    },
  }),
];

/** The balance as every page shows it. */
export async function balanceOf(deps: ApiDeps, orgId: OrgId): Promise<z.input<typeof BalanceSchema> | undefined> {
  const [wallet, burn] = await Promise.all([deps.ledger.wallet(orgId), readBurn(deps.db, orgId, deps.clock.nowMs())]);
  return wallet && balanceOut(deps, orgId, wallet, burn);
}

function balanceOut(deps: ApiDeps, orgId: string, wallet: Wallet, burn: Burn | null): z.input<typeof BalanceSchema> {
  const { held, pending } = wallet.hot ?? { held: 0, pending: 0 };
  const nowMs = deps.clock.nowMs();
  const amount = (micro: number) => shown(deps, micro);
  const available = wallet.booked - pending - held;
  return {
    org_id: orgId,
    available: amount(available),
    in_flight: amount(held),
    pending: amount(pending),
    settled: amount(wallet.booked),
    debt: amount(wallet.debt === 0 ? 0 : -wallet.debt),
    overdraft: amount(wallet.overdraft),
    spendable: amount(available + wallet.overdraft),
    month: {
      spent: amount(wallet.monthSpent + pending),
      limit: wallet.monthLimit === null ? null : amount(wallet.monthLimit),
      ends_at: wallet.monthEndsAt?.toISOString() ?? null,
    },
    by_bucket: wallet.grants.map((grant, index) => ({
      id: grant.id,
      kind: grant.kind,
      category: grant.category,
      burn_order: index + 1,
      granted: amount(grant.amount),
      remaining: amount(grant.remaining),
      expires_at: grant.expiresAt?.toISOString() ?? null,
      created_at: grant.createdAt.toISOString(),
      reason: grant.reason,
    })),
    burn_rate: burn && { per_day_7d: amount(burn.perDay7d), per_day_24h: amount(burn.perDay24h) },
    runs_out: runsOutOut(burn && runsOut(available, burn, nowMs)),
    currency: deps.credits.value?.currency ?? null,
    live: wallet.hot !== null,
    seq: wallet.version,
    as_of: timeOut(new Date(nowMs)),
  };
}

const runsOutOut = (end: RunsOut | null) =>
  end && { at: timeOut(end.at), earliest: timeOut(end.earliest), latest: timeOutOrNull(end.latest) };
