import { z } from '@hono/zod-openapi';
import type { Actor } from '../accounts/actor.js';
import { listAudit } from '../accounts/listAudit.js';
import { readOrg } from '../accounts/readOrg.js';
import { isOrgId } from '../domain/ids.js';
import { contextFor } from './context.js';
import { type Cursors, createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, type Problem } from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeIn, TimeOut, timeOut } from './schemas.js';

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

const Filters = z.strictObject({
  action: z
    .string()
    .regex(/^[a-z_]{1,40}(?:\.[a-z_]{1,40})?$/, 'An action looks like token.create; token alone means all about tokens.')
    .optional(),
  actor: z
    .string()
    .regex(/^[\w: .-]{1,100}$/, 'An actor looks like operator, person:usr_…, key:key_… or system:….')
    .optional(),
  subject: z
    .string()
    .regex(/^[\w.:@+-]{1,254}$/, 'A subject is an id, such as tok_07Ab12Cd34Ef56.')
    .optional(),
  from: TimeIn.optional(),
  to: TimeIn.optional(),
  limit: LimitQuery,
  cursor: CursorQuery,
});

export function auditRoutes(deps: ApiDeps): readonly Route[] {
  const cursors = createCursors(deps.pepper);
  return [
    route({
      method: 'get',
      path: '/api/v1/admin/audit',
      permission: 'operator.any',
      summary: 'Who changed what, newest first',
      tag: 'books',
      query: Filters.extend({ org_id: z.string().refine(isOrgId, 'An organization id looks like org_07Ab12Cd34Ef56Gh.').optional() }),
      answers: { 200: { description: 'A page', schema: pageSchema(AuditSchema) } },
      handle: ({ query, actor }) => auditPage({ deps, cursors, actor, query, orgId: query.org_id ?? null }),
    }),
    route({
      method: 'get',
      path: '/api/v1/orgs/{org}/audit',
      permission: 'audit.read',
      summary: 'Who changed what in this organization, newest first',
      tag: 'organizations',
      params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
      query: Filters,
      answers: { 200: { description: 'A page', schema: pageSchema(AuditSchema) } },
      handle: async ({ params, query, actor }) => {
        if (!(await readOrg({ ctx: deps, orgId: params.org }))) return noSuchOrg();
        return auditPage({ deps, cursors, actor, query, orgId: params.org });
      },
    }),
  ];
}

async function auditPage(asked: {
  readonly deps: ApiDeps;
  readonly cursors: Cursors;
  readonly actor: Actor;
  readonly query: z.output<typeof Filters>;
  readonly orgId: string | null;
}): Promise<Answer | Problem> {
  const { deps, cursors, actor, query, orgId } = asked;
  const { action = null, actor: by = null, subject = null, from = null, to = null } = query;
  const filter = { orgId, action, actor: by, subject, from, to };
  const filters = ['audit', filter];
  const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
  if (typeof place === 'string') return badCursor(place);
  const before = place[0] === undefined ? null : Number(place[0]);
  const page = await listAudit({ ctx: contextFor(deps, actor), filter, before, limit: query.limit });
  const last = page.rows.at(-1);
  return answer(200, {
    data: page.rows.map((line) => ({ ...line, at: timeOut(line.at) })),
    has_more: page.hasMore,
    next_cursor: page.hasMore && last ? cursors.make([String(last.id)], filters) : null,
  });
}
