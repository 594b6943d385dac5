import { z } from '@hono/zod-openapi';
import { type Everybody, readEverybody } from '../usage/everybody.js';
import type { DaySums } from '../usage/month.js';
import { type ApiDeps, shown } from './deps.js';
import { type Health, readHealth } from './health.js';
import { CHECKS, judge } from './healthChecks.js';
import { answer, type Route, route } from './route.js';
import { AmountOutSchema } from './schemas.js';

const SumsSchema = z.strictObject({ requests: z.int(), errors: z.int(), cost: AmountOutSchema });

const AttentionSchema = z.strictObject({
  /** A check of `/admin/health`, or an organization that owes. */
  about: z.enum([...CHECKS, 'debt']),
  state: z.enum(['warn', 'bad']),
  sentence: z.string(),
  org_id: z.string().nullable(),
});

const AdminOverviewSchema = z
  .strictObject({
    organizations: z.strictObject({ total: z.int(), suspended: z.int() }),
    people: z.int(),
    /** What customers could still spend, and what they owe, as booked. */
    credits: z.strictObject({ outstanding: AmountOutSchema, owed: AmountOutSchema }),
    /** Days and months are those of each organization. */
    today: SumsSchema,
    month: SumsSchema,
    top_organizations: z.array(SumsSchema.extend({ org_id: z.string(), name: z.string() })),
    /** What needs a person, the worst first; empty when nothing does. */
    attention: z.array(AttentionSchema),
  })
  .openapi('AdminOverview');

export const adminOverviewRoutes = (deps: ApiDeps): readonly Route[] => [
  route({
    method: 'get',
    path: '/api/v1/admin/overview',
    permission: 'operator.any',
    summary: 'All organizations in a few figures, and what needs a person',
    tag: 'server',
    answers: { 200: { description: 'The overview', schema: AdminOverviewSchema } },
    handle: async () => {
      const [seen, health] = await Promise.all([readEverybody(deps.db, deps.clock.nowMs()), readHealth(deps)]);
      const sums = ({ requests, errors, cost }: DaySums) => ({ requests, errors, cost: shown(deps, cost) });
      return answer(200, {
        organizations: seen.organizations,
        people: seen.people,
        credits: { outstanding: shown(deps, seen.credits.outstanding), owed: shown(deps, seen.credits.owed) },
        today: sums(seen.today),
        month: sums(seen.month),
        top_organizations: seen.top.map((one) => ({ org_id: one.org_id, name: one.name, ...sums(one) })),
        attention: attentionOf(deps, seen, health),
      });
    },
  }),
];

function attentionOf(deps: ApiDeps, seen: Everybody, health: Health): z.input<typeof AttentionSchema>[] {
  const parts = judge(health).flatMap(({ name, state, sentence }) =>
    state === 'ok' ? [] : [{ about: name, state, sentence, org_id: null } as const],
  );
  const debts = seen.debtors.map(
    ({ org_id, name, owed }) =>
      ({ about: 'debt', state: 'warn', sentence: `${name} owes ${shown(deps, owed).credits} credits.`, org_id }) as const,
  );
  return [...parts, ...debts].sort((a, b) => Number(b.state === 'bad') - Number(a.state === 'bad'));
}
