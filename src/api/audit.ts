import { z } from '@hono/zod-openapi';
import { listAudit } from '../accounts/listAudit.js';
import { isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { badCursor } from './problem.js';
import { answer, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut } from './schemas.js';

const AuditSchema = z
  .strictObject({
    id: z.int(),
    at: TimeOut,
    org_id: z.string().nullable(),
    actor: z.string(),
    action: z.string(),
    subject: z.string().nullable(),
    details: z.record(z.string(), z.unknown()),
    hash: z.string(),
  })
  .openapi('AuditLine');

export function auditRoutes(deps: ApiDeps): readonly Route[] {
  const cursors = createCursors(deps.pepper);
  return [
    route({
      method: 'get',
      path: '/api/v1/admin/audit',
      permission: 'operator.any',
      summary: 'Who changed what, newest first',
      tag: 'books',
      query: z.strictObject({
        limit: LimitQuery,
        cursor: CursorQuery,
        org_id: z.string().refine(isOrgId, 'An organization id looks like org_07Ab12Cd34Ef56Gh.').optional(),
        action: z
          .string()
          .regex(/^[a-z_.]{1,60}$/, 'An action looks like token.create.')
          .optional(),
      }),
      answers: { 200: { description: 'A page', schema: pageSchema(AuditSchema) } },
      handle: async ({ query, actor }) => {
        const filters = ['audit', query.org_id ?? null, query.action ?? null];
        const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
        if (typeof place === 'string') return badCursor(place);
        const before = place[0] === undefined ? null : Number(place[0]);
        const ctx = contextFor(deps, actor);
        const page = await listAudit({ ctx, orgId: query.org_id ?? null, action: query.action ?? null, before, limit: query.limit });
        const last = page.rows.at(-1);
        return answer(200, {
          data: page.rows.map((line) => ({ ...line, at: timeOut(line.at) })),
          has_more: page.hasMore,
          next_cursor: page.hasMore && last ? cursors.make([String(last.id)], filters) : null,
        });
      },
    }),
  ];
}
