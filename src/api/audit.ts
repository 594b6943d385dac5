import { z } from '@hono/zod-openapi';
import type { Actor } from '../accounts/actor.js';
import { type AuditFilter, type AuditLine, everyAuditLine, listAudit } from '../accounts/listAudit.js';
import { readOrg } from '../accounts/readOrg.js';
import { isOrgId } from '../domain/ids.js';
import { verifyAudit } from '../ledger/reconcile.js';
import { asLongAsAllowed, createAccess } from './access.js';
import { contextFor } from './context.js';
import { type Cursors, createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor, type Problem } from './problem.js';
import { type Answer, answer, idParam, type Route, route, streamed } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeIn, TimeOut, timeOut } from './schemas.js';
import { type Column, csvOf, ndjsonOf, textStream } from './table.js';

const AuditSchema = z
  .strictObject({
    id: z.int(),
    at: TimeOut,
    org_id: z.string().nullable(),
    actor: z.string(),
    action: z.string(),
    subject: z.string().nullable(),
    details: z.record(z.string(), z.unknown()),
    /** From where it was asked for. */
    ip: z.string().nullable(),
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

const OrgFilter = Filters.extend({
  org_id: z.string().refine(isOrgId, 'An organization id looks like org_07Ab12Cd34Ef56Gh.').optional(),
});

const ChainSchema = z
  .strictObject({
    clean: z.boolean(),
    lines: z.int(),
    /** Lines that do not follow from the line before them, at most a hundred. */
    findings: z.array(z.strictObject({ line: z.string(), sentence: z.string() })),
    /** Keep it elsewhere: it also shows when lines were cut off at the end. */
    last: z.strictObject({ id: z.int(), hash: z.string() }).nullable(),
  })
  .openapi('AuditChain');

export function auditRoutes(deps: ApiDeps): readonly Route[] {
  const cursors = createCursors(deps.pepper);
  return [
    exportRoute(deps),
    verifyRoute(deps),
    route({
      method: 'get',
      path: '/api/v1/admin/audit',
      permission: 'operator.any',
      summary: 'Who changed what, newest first',
      tag: 'books',
      query: OrgFilter,
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
        return auditPage({ deps, cursors, actor, query, orgId: params.org, isForMembers: true });
      },
    }),
  ];
}

function exportRoute(deps: ApiDeps): Route {
  const access = createAccess(deps);
  return route({
    method: 'get',
    path: '/api/v1/admin/audit/export',
    permission: 'operator.any',
    summary: 'All lines of a filter as CSV or NDJSON, newest first',
    tag: 'books',
    query: OrgFilter.omit({ limit: true, cursor: true }).extend({ format: z.enum(['csv', 'ndjson']).default('csv') }),
    answers: { 200: { description: 'The file', schema: z.string(), type: 'text/csv' } },
    handle: (call) => {
      const { org_id: orgId = null, format, ...query } = call.query;
      const lines = everyAuditLine({ ctx: contextFor(deps, call.actor), filter: filterOf(query, orgId) });
      const pages = asLongAsAllowed(access.follow(call), lines);
      const name = `audit-${new Date(deps.clock.nowMs()).toISOString().slice(0, 10)}.${format}`;
      const file = { 'content-disposition': `attachment; filename="${name}"` };
      if (format === 'ndjson') return streamed('application/x-ndjson', textStream(ndjsonOf(shaped(pages))), file);
      return streamed('text/csv; charset=utf-8', textStream(csvOf(COLUMNS, pages)), file);
    },
  });
}

const verifyRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/admin/audit/verify',
    permission: 'operator.any',
    summary: 'Compute the chain of the audit log again, from its first line',
    tag: 'books',
    answers: { 200: { description: 'Whether every line follows from the one before', schema: ChainSchema } },
    handle: async () => {
      const { clean, lines, findings, last } = await verifyAudit(deps.db);
      return answer(200, { clean, lines, findings: findings.map(({ subject, sentence }) => ({ line: subject, sentence })), last });
    },
  });

const COLUMNS: readonly Column<AuditLine>[] = [
  { name: 'line', of: (line) => line.id },
  { name: 'time (UTC)', of: (line) => timeOut(line.at) },
  { name: 'organization', of: (line) => line.org_id },
  { name: 'actor', of: (line) => line.actor },
  { name: 'action', of: (line) => line.action },
  { name: 'subject', of: (line) => line.subject },
  { name: 'ip', of: (line) => line.ip },
  { name: 'details', of: (line) => JSON.stringify(line.details) },
  { name: 'hash', of: (line) => line.hash },
];

const lineOut = (line: AuditLine): AuditLine => ({ ...line, at: timeOut(line.at) });

/** From where the operator works is not for the people of an organization. */
const isOperators = ({ actor }: AuditLine): boolean => actor.startsWith('operator');

async function* shaped(pages: AsyncIterable<readonly AuditLine[]>): AsyncGenerator<readonly object[]> {
  for await (const lines of pages) yield lines.map(lineOut);
}

function filterOf(query: Omit<z.output<typeof Filters>, 'limit' | 'cursor'>, orgId: string | null): AuditFilter {
  const { action = null, actor = null, subject = null, from = null, to = null } = query;
  return { orgId, action, actor, subject, from, to };
}

async function auditPage(asked: {
  readonly deps: ApiDeps;
  readonly cursors: Cursors;
  readonly actor: Actor;
  readonly query: z.output<typeof Filters>;
  readonly orgId: string | null;
  readonly isForMembers?: boolean;
}): Promise<Answer | Problem> {
  const { deps, cursors, actor, query, orgId } = asked;
  const filter = filterOf(query, orgId);
  const filters = ['audit', filter];
  const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
  if (typeof place === 'string') return badCursor(place);
  const before = place[0] === undefined ? null : Number(place[0]);
  const page = await listAudit({ ctx: contextFor(deps, actor), filter, before, limit: query.limit });
  const last = page.rows.at(-1);
  return answer(200, {
    data: page.rows.map((line) => ({ ...lineOut(line), ip: asked.isForMembers && isOperators(line) ? null : line.ip })),
    has_more: page.hasMore,
    next_cursor: page.hasMore && last ? cursors.make([String(last.id)], filters) : null,
  });
}
