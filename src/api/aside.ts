import { z } from '@hono/zod-openapi';
import { nameOf } from '../accounts/actor.js';
import { type AsideRow, listAside, type Resolved } from '../ledger/setAside.js';
import { createCursors } from './cursor.js';
import type { ApiDeps } from './deps.js';
import { badCursor, conflict, creditsAway, notFound, type Problem } from './problem.js';
import { type Answer, answer, idParam, type Route, route } from './route.js';
import { CursorQuery, LimitQuery, pageSchema, TimeOut, text, timeOut, timeOutOrNull } from './schemas.js';

const AsideSchema = z
  .strictObject({
    id: z.string(),
    set_aside_at: TimeOut,
    org_id: z.string().nullable(),
    request_id: z.string().nullable(),
    /** Why it could not be booked. */
    error: z.string(),
    /** The charge event: an object, or the text that came where it is none. */
    event: z.unknown(),
    resolved_at: TimeOut.nullable(),
    resolution: z.enum(['booked', 'dropped']).nullable(),
    resolved_by: z.string().nullable(),
    note: z.string().nullable(),
  })
  .openapi('SetAside');

const PATH = '/api/v1/admin/set-aside';
const ID = /^aside_[1-9]\d{0,14}$/;
const Params = z.object({ aside: idParam((value): value is string => ID.test(value), 'aside_3') });
const numberOf = (id: string): number => Number(id.slice('aside_'.length));

export const asideRoutes = (deps: ApiDeps): readonly Route[] => [listRoute(deps), bookRoute(deps), dropRoute(deps)];

function listRoute(deps: ApiDeps): Route {
  const cursors = createCursors(deps.pepper);
  return route({
    method: 'get',
    path: PATH,
    permission: 'operator.any',
    summary: 'Charges that no transaction could take, newest first',
    tag: 'books',
    query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery, state: z.enum(['open', 'resolved', 'all']).default('open') }),
    answers: { 200: { description: 'A page', schema: pageSchema(AsideSchema) } },
    handle: async ({ query }) => {
      const marks = ['aside', query.state];
      const place = query.cursor === undefined ? [] : cursors.read(query.cursor, marks);
      if (typeof place === 'string') return badCursor(place);
      const before = place[0] === undefined ? null : Number(place[0]);
      const open = query.state === 'all' ? null : query.state === 'open';
      const page = await listAside(deps.db, { open, before, limit: query.limit });
      const last = page.rows.at(-1);
      return answer(200, {
        data: page.rows.map(asideOut),
        has_more: page.hasMore,
        next_cursor: page.hasMore && last ? cursors.make([String(last.id)], marks) : null,
      });
    },
  });
}

const bookRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{aside}/book`,
    permission: 'operator.finance',
    summary: 'Book a charge that was set aside, now that nothing stands in its way',
    tag: 'books',
    params: Params,
    answers: { 200: { description: 'What became of it', schema: AsideSchema } },
    handle: async ({ params, actor }) => resolved(await deps.ledger.bookAside({ id: numberOf(params.aside), actor: nameOf(actor) })),
  });

const dropRoute = (deps: ApiDeps): Route =>
  route({
    method: 'post',
    path: `${PATH}/{aside}/drop`,
    permission: 'operator.finance',
    stepUp: true,
    summary: 'Give up a charge that was set aside: nobody pays for it',
    tag: 'books',
    params: Params,
    body: z.strictObject({ reason: text(500) }),
    answers: { 200: { description: 'What became of it', schema: AsideSchema } },
    handle: async ({ params, body, actor }) =>
      resolved(await deps.ledger.dropAside({ id: numberOf(params.aside), actor: nameOf(actor), reason: body.reason })),
  });

function resolved(result: Resolved): Answer | Problem {
  switch (result.kind) {
    case 'resolved':
      return answer(200, asideOut(result.row));
    case 'unknown':
      return notFound('Nothing was set aside under this id.');
    case 'resolved_before':
      return conflict('resolved_before', `This was ${result.row.resolution ?? 'dealt with'} before.`);
    case 'refused':
      return conflict('still_not_bookable', `It still cannot be booked: ${result.reason.slice(0, 300)}`);
    case 'unavailable':
      return creditsAway();
  }
}

const asideOut = (row: AsideRow): z.input<typeof AsideSchema> => ({
  id: `aside_${row.id}`,
  set_aside_at: timeOut(row.at),
  org_id: row.org_id,
  request_id: row.request_id,
  error: row.error,
  event: eventOf(row.event),
  resolved_at: timeOutOrNull(row.resolved_at),
  resolution: row.resolution,
  resolved_by: row.resolved_by,
  note: row.note,
});

function eventOf(event: string): unknown {
  try {
    return JSON.parse(event);
  } catch {
    return event;
  }
}
