import { z } from '@hono/zod-openapi';
import { lookUp } from '../accounts/lookUp.js';
import { isOrgId } from '../domain/ids.js';
import { type JournalFilter, listJournal, type Reference } from '../ledger/journal.js';
import { TRANSACTION_KINDS } from '../ledger/transactions.js';
import { TransactionSchema, transactionOut } from './adminLedger.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { isProblem, listOf } from './logQuery.js';
import { badCursor, invalid, type Problem } from './problem.js';
import { answer, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeIn, text } from './schemas.js';

const Filters = z.strictObject({
  org_id: z.string().refine(isOrgId, 'An organization id looks like org_07Ab12Cd34Ef56Gh.').optional(),
  kind: listOf(z.enum(TRANSACTION_KINDS)),
  actor: z
    .string()
    .regex(/^[\w: .-]{1,100}$/, 'An actor looks like operator, person:usr_…, key:key_… or system:….')
    .optional(),
  reference: z
    .string()
    .regex(/^[\w.:-]{1,200}$/, 'A reference is an id, such as req_…, tx_17, grant_3, batch_… or that of a payment.')
    .optional(),
  from: TimeIn.optional(),
  to: TimeIn.optional(),
  limit: LimitQuery,
  cursor: CursorQuery,
});

const JournalSchema = TransactionSchema.extend({ org_id: z.string() }).openapi('JournalTransaction');

const FoundSchema = z
  .strictObject({
    kind: z.enum(['organization', 'person', 'token', 'request', 'key']),
    id: z.string(),
    org_id: z.string().nullable(),
    /** Of a request its model, of a person their address. */
    name: z.string(),
  })
  .openapi('Found');

export const journalRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), lookUpRoute(deps)];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: '/api/v1/admin/ledger',
    permission: 'operator.any',
    summary: 'The journal of all organizations, newest first: transactions with all their lines',
    tag: 'books',
    query: Filters,
    answers: { 200: { description: 'A page', schema: pageSchema(JournalSchema) } },
    handle: async ({ query }) => {
      const filter = filterOf(query);
      if (isProblem(filter)) return filter;
      const marks = ['journal', filter];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, marks);
      if (typeof place === 'string') return badCursor(place);
      const before = place[0] === undefined ? null : Number(place[0]);
      const page = await listJournal(deps.db, { filter, before, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map((tx) => ({ ...transactionOut(deps, tx), org_id: tx.org_id })),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([String(last.tx_id)], marks) : null,
      });
    },
  });
}

const lookUpRoute = (deps: ApiDeps): Route =>
  route({
    method: 'get',
    path: '/api/v1/admin/lookup',
    permission: 'operator.any',
    summary: 'What an id, an address or a name stands for: requests, tokens, keys, people and organizations',
    tag: 'books',
    query: z.strictObject({ q: text(200) }),
    answers: { 200: { description: 'At most ten, the most exact first', schema: pageSchema(FoundSchema) } },
    handle: async ({ query }) => answer(200, { data: await lookUp(deps.db, query.q), has_more: false, next_cursor: null }),
  });

function filterOf(query: z.output<typeof Filters>): JournalFilter | Problem {
  const { from, to } = query;
  if (from && to && from >= to) return invalid([{ pointer: '?to', code: 'not_after_from', message: '`to` must be later than `from`.' }]);
  return {
    orgId: query.org_id ?? null,
    kinds: query.kind ?? null,
    actor: query.actor ?? null,
    reference: query.reference === undefined ? null : referenceOf(query.reference),
    from: from ? new Date(from) : null,
    to: to ? new Date(to) : null,
  };
}

function referenceOf(id: string): Reference {
  const request = /^req_([0-9a-f]{32})$/.exec(id)?.[1];
  if (request !== undefined) return { kind: 'request', id: request };
  const [, name, number] = /^(tx|grant)_([1-9]\d{0,14})$/.exec(id) ?? [];
  if (number !== undefined) return { kind: name === 'tx' ? 'transaction' : 'grant', number: Number(number) };
  return { kind: id.startsWith('batch_') ? 'batch' : 'other', id };
}
