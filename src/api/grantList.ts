import { z } from '@hono/zod-openapi';
import { isOrgId } from '../domain/ids.js';
import { GRANT_STATES, type ListedGrant, listGrants } from '../ledger/listGrants.js';
import { createCursors } from './cursor.js';
import { type ApiDeps, shown } from './deps.js';
import { noSuchOrg } from './orgs.js';
import { badCursor } from './problem.js';
import { answer, idParam, type Route, route } from './route.js';
import { AmountOutSchema, CursorQuery, LimitQuery, pageSchema, TimeOut, timeOut, timeOutOrNull } from './schemas.js';

const ListedGrantSchema = z
  .strictObject({
    id: z.string(),
    kind: z.string(),
    category: z.enum(['promo', 'plan', 'paid']),
    /** `live`: something is left; `expired`: the rest went when its time was up; `used`: everything else. */
    state: z.enum(GRANT_STATES),
    /** 1 = used up next; null when nothing is left. */
    burn_order: z.int().nullable(),
    granted: AmountOutSchema,
    remaining: AmountOutSchema,
    expires_at: TimeOut.nullable(),
    created_at: TimeOut,
    reason: z.string().nullable(),
    /** What it came from: a payment, a code; a code by no id, because nobody keeps it. */
    reference: z.strictObject({ type: z.string(), id: z.string().nullable() }).nullable(),
    /** Under which it was booked. */
    transaction_id: z.string(),
  })
  .openapi('ListedGrant');

const GrantsSchema = pageSchema(ListedGrantSchema)
  .extend({
    /** Of everything the filter finds. What remains of all is `settled` less `debt` of the balance. */
    totals: z.strictObject({ grants: z.int(), granted: AmountOutSchema, remaining: AmountOutSchema }),
  })
  .openapi('Grants');

export function grantListRoutes(deps: ApiDeps): readonly Route[] {
  const cursors = createCursors(deps.pepper);
  return [
    route({
      method: 'get',
      path: '/api/v1/orgs/{org}/grants',
      permission: 'credits.read',
      summary: 'Every grant: what came in, what is left of it and until when, newest first',
      tag: 'credits',
      params: z.object({ org: idParam(isOrgId, 'org_07Ab12Cd34Ef56Gh') }),
      query: z.strictObject({ limit: LimitQuery, cursor: CursorQuery, state: z.enum(GRANT_STATES).optional() }),
      answers: { 200: { description: 'A page', schema: GrantsSchema } },
      handle: async ({ params, query }) => {
        const state = query.state ?? null;
        const filters = ['grants', params.org, state];
        const place = query.cursor === undefined ? [] : cursors.read(query.cursor, filters);
        if (typeof place === 'string') return badCursor(place);
        const before = place[0] === undefined ? null : Number(place[0]);
        const page = await listGrants(deps.db, params.org, { state, before, limit: query.limit });
        if (!page) return noSuchOrg();
        const last = page.rows.at(-1);
        return answer(200, {
          data: page.rows.map((one) => grantOut(deps, one)),
          has_more: page.hasMore,
          next_cursor: page.hasMore && last ? cursors.make([String(last.grant_id)], filters) : null,
          totals: {
            grants: page.totals.grants,
            granted: shown(deps, page.totals.granted),
            remaining: shown(deps, page.totals.remaining),
          },
        });
      },
    }),
  ];
}

const grantOut = (deps: ApiDeps, grant: ListedGrant): z.input<typeof ListedGrantSchema> => ({
  id: `grant_${grant.grant_id}`,
  kind: grant.kind,
  category: grant.category,
  state: grant.state,
  burn_order: grant.burn_order,
  granted: shown(deps, grant.granted),
  remaining: shown(deps, grant.remaining),
  expires_at: timeOutOrNull(grant.expires_at),
  created_at: timeOut(grant.created_at),
  reason: grant.reason,
  reference: referenceOf(grant),
  transaction_id: `tx_${grant.tx_id}`,
});

/** The books know a code by its digest, which is nobody's business. */
const referenceOf = ({ source_type: type, source_id: id }: ListedGrant) =>
  type === null ? null : { type, id: type === 'code' ? null : id };
