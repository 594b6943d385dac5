import { z } from '@hono/zod-openapi';
import type { ApiDeps } from './deps.js';
import { answer, type Route, route } from './route.js';

const ReconciliationSchema = z
  .strictObject({ clean: z.boolean(), checked: z.record(z.string(), z.number()), findings: z.array(z.unknown()) })
  .openapi('Reconciliation');

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
];
