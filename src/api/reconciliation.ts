import { z } from '@hono/zod-openapi';
import { isOrgId } from '../domain/ids.js';
import type { OrgReconciliation } from '../ledger/reconcileOrg.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, TimeOut, timeOut } from './schemas.js';

const ReconciliationSchema = z
  .strictObject({ clean: z.boolean(), checked: z.record(z.string(), z.number()), findings: z.array(z.unknown()) })
  .openapi('Reconciliation');

const HOLDS_MAX = 100;

const OrgReconciliationSchema = z
  .strictObject({
    org_id: z.string(),
    as_of: TimeOut,
    clean: z.boolean(),
    /** Added up from every entry there ever was. */
    entries: z.strictObject({ count: z.int(), available: AmountOutSchema, debt: AmountOutSchema }),
    /** As the accounts have it, one for each grant and one for debt. */
    accounts: z.strictObject({ count: z.int(), available: AmountOutSchema, debt: AmountOutSchema }),
    /** What every page, answer and limit reads. */
    projection: z.strictObject({ available: AmountOutSchema, debt: AmountOutSchema, seq: z.int() }),
    /** What was counted as spent, against what the days make. */
    month: z.strictObject({ starts: z.iso.date(), counted: AmountOutSchema, days: AmountOutSchema }),
    tokens: z.strictObject({ counted: AmountOutSchema, days: AmountOutSchema }),
    /** What requests are admitted by; null: it does not answer. */
    hot_store: z
      .strictObject({
        available: AmountOutSchema,
        seq: z.int(),
        /** Open holds together, and what is settled but not booked yet. */
        held: AmountOutSchema,
        pending: AmountOutSchema,
        spendable: AmountOutSchema,
        pending_requests: z.int(),
      })
      .nullable(),
    /** Running requests; the largest first, at most 100. */
    holds: z.strictObject({
      count: z.int(),
      data: z.array(z.strictObject({ request_id: z.string(), token_id: z.string(), amount: AmountOutSchema, expires_at: TimeOut })),
    }),
    /** Charges that could not be booked. */
    set_aside: z.int(),
    differences: z.array(
      z.strictObject({ check: z.string(), subject: z.string(), expected: z.string(), found: z.string(), sentence: z.string() }),
    ),
  })
  .openapi('OrgReconciliation');

export const reconciliationRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/admin/reconciliation',
    permission: 'operator.finance',
    summary: 'Recompute everything from the entries and compare',
    tag: 'books',
    answers: { 200: { description: 'What was checked and what does not agree', schema: ReconciliationSchema } },
    handle: async () => {
      const { clean, checked, findings } = await deps.ledger.reconcile();
      return answer(200, { clean, checked, findings });
    },
  }),
  route({
    method: 'get',
    path: '/api/v1/orgs/{org}/reconciliation',
    permission: 'credits.read',
    summary: 'Whether everything that is known about the credits of an organization agrees, figure by figure',
    tag: 'credits',
    params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
    answers: { 200: { description: 'What was compared, and what does not agree', schema: OrgReconciliationSchema } },
    handle: async ({ params }) => {
      const compared = await deps.ledger.reconcileOrg(params.org);
      return compared ? answer(200, comparedOut(deps, params.org, compared)) : noSuchOrg();
    },
  }),
];

function comparedOut(deps: ApiDeps, orgId: string, compared: OrgReconciliation): z.input<typeof OrgReconciliationSchema> {
  const { clean, books, hot, findings } = compared;
  const { entries, accounts, projection, month, tokens } = books;
  const both = (of: { readonly avail: number; readonly debt: number }) => ({
    available: shown(deps, of.avail),
    debt: shown(deps, of.debt),
  });
  const counted = (of: { readonly counted: number; readonly days: number }) => ({
    counted: shown(deps, of.counted),
    days: shown(deps, of.days),
  });
  const holds = [...(hot?.holds ?? [])].sort((a, b) => b.amount - a.amount);
  return {
    org_id: orgId,
    as_of: timeOut(new Date(deps.clock.nowMs())),
    clean,
    entries: { count: entries.count, ...both(entries) },
    accounts: { count: accounts.count, ...both(accounts) },
    projection: { ...both(projection), seq: projection.version },
    month: { starts: month.starts, ...counted(month) },
    tokens: counted(tokens),
    hot_store:
      hot === null
        ? null
        : {
            available: shown(deps, hot.balance.avail),
            seq: hot.balance.balanceVersion,
            held: shown(deps, hot.held),
            pending: shown(deps, hot.pend),
            spendable: shown(deps, hot.spendable),
            pending_requests: hot.pending.length,
          },
    holds: {
      count: holds.length,
      data: holds.slice(0, HOLDS_MAX).map((hold) => ({
        request_id: hold.requestId,
        token_id: hold.tokenId,
        amount: shown(deps, hold.amount),
        expires_at: timeOut(new Date(hold.deadlineMs)),
      })),
    },
    set_aside: books.set_aside,
    differences: [...findings],
  };
}
